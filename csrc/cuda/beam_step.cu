// A warp for each source: every lane has the heads of its rows, and the warp takes the best of all, again and
// again. A second, small kernel counts the step, once every source has read its number.
#include "cuda/detail/simt.h"
#include "cuda/table.h"
#include "math/beam.h"
#include "ops/beam_step.h"

namespace s2s::cuda {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffffu;

struct Head {
  double sum;
  int row;  // of the source; -1: none
};

__device__ Head better(Head a, Head b) {
  if (a.row < 0) return b;
  if (b.row < 0) return a;
  return math::beam_before(a.sum, a.row, b.sum, b.row) ? a : b;
}

__device__ Head best_of_warp(Head mine) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Head other{__shfl_xor_sync(kAll, mine.sum, distance), __shfl_xor_sync(kAll, mine.row, distance)};
    mine = better(mine, other);
  }
  return mine;
}

// The first lane writes what belongs to the source; each lane what belongs to its rows.
__device__ void advance(const BeamStepArgs& x, int64_t source, int64_t step, int lane) {
  const int64_t first = source * x.beam, live = x.live[source];
  const bool may_end = step >= x.min_length;
  int32_t* ranks = x.ranks + first;
  for (int64_t i = lane; i < live; i += kWarp)
    ranks[i] = static_cast<int32_t>(math::beam_next_rank(x, first + i, 0, may_end));
  int64_t chosen = 0;
  for (int64_t place = 0; chosen < x.beam; ++place) {
    Head head{0.0, -1};
    for (int64_t i = lane; i < live; i += kWarp) {
      if (ranks[i] >= x.k) continue;
      const double sum = x.sums[first + i] + static_cast<double>(x.log_probs[(first + i) * x.k + ranks[i]]);
      head = better(head, {sum, static_cast<int>(i)});
    }
    head = best_of_warp(head);
    if (head.row < 0) break;
    const int64_t from = first + head.row;
    const bool mine = head.row % kWarp == lane;
    const int rank = __shfl_sync(kAll, mine ? ranks[head.row] : 0, head.row % kWarp);
    const int32_t token = math::beam_token(x, x.columns[from * x.k + rank]);
    if (!math::beam_ends(x, token)) {
      if (lane == 0) {
        x.parents[first + chosen] = static_cast<int32_t>(from);
        x.tokens[first + chosen] = token;
        x.scratch[first + chosen] = head.sum;
      }
      ++chosen;
    } else if (place < x.beam && lane == 0) {
      math::beam_keep(x, source, head.sum / x.scales[step + 1]);
    }
    if (mine) ranks[head.row] = static_cast<int32_t>(math::beam_next_rank(x, from, rank + 1, may_end));
  }
  int survivors = 0;
  __syncwarp();  // every lane has read live[source]
  if (lane == 0) {
    survivors = static_cast<int>(math::beam_survivors(x, source, step, chosen));
    x.live[source] = survivors;
  }
  survivors = __shfl_sync(kAll, survivors, 0);
  __syncwarp();  // the first lane's sums
  for (int64_t i = lane; i < x.beam; i += kWarp) {
    if (i < survivors) {
      x.sums[first + i] = x.scratch[first + i];
    } else {
      x.parents[first + i] = static_cast<int32_t>(first);
      x.tokens[first + i] = x.end_tokens[0];
    }
  }
}

__global__ void __launch_bounds__(kWarp) beam_sources(BeamStepArgs x) {
  const int64_t source = blockIdx.x, step = *x.step, given = x.beam * x.k;
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t from = source * given, to = step * x.sources * given + from;
  for (int64_t i = lane; i < given; i += kWarp) {
    x.kept_log_probs[to + i] = x.log_probs[from + i];
    x.kept_columns[to + i] = x.columns[from + i];
  }
  if (x.live[source] > 0) advance(x, source, step, lane);
}

__global__ void __launch_bounds__(kWarp) beam_count(BeamStepArgs x) {
  int any = 0;
  for (int64_t source = threadIdx.x; source < x.sources; source += kWarp) any |= x.live[source] > 0;
  any = __any_sync(kAll, any);
  if (threadIdx.x == 0) {
    *x.again = any;
    *x.step += 1;
  }
}

}  // namespace

void beam_step(const BeamStepArgs& x) {
  launch(beam_sources, {.grid = dim3(static_cast<unsigned>(x.sources)), .block = dim3(kWarp)}, x);
  launch(beam_count, {.grid = dim3(1), .block = dim3(kWarp)}, x);
}

}  // namespace s2s::cuda

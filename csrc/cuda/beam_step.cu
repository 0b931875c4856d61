// A warp for each source: every lane has the heads of its rows, and the warp takes the best of all, again and
// again. The last warp to be done counts the step.
#include "cuda/detail/simt.h"
#include "cuda/table.h"
#include "math/beam.h"
#include "ops/beam_step.h"

namespace s2s::cuda {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffffu;
constexpr int kNearRanks = 256;  // so many ranks of a source are kept in shared memory

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

// The first lane writes what belongs to the source; each lane what belongs to its rows. ranks [beam]:
// scratch, of which a lane uses its rows' alone.
__device__ void advance(const BeamStepArgs& x, int64_t source, int64_t step, int64_t live, int32_t* ranks,
                        int lane) {
  const int64_t first = source * x.beam;
  const bool may_end = step >= x.min_length;
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

// The step is done; whoever is the last to know counts it.
__device__ void count_step(const BeamStepArgs& x, int64_t step, int lane) {
  int any = 0;
  for (int64_t source = lane; source < x.sources; source += kWarp) any |= x.live[source] > 0;
  any = __any_sync(kAll, any);
  if (lane == 0) *x.step = *x.done = static_cast<int32_t>(any ? step + 1 : -(step + 1));
}

__device__ bool arrives_last(int32_t* arrived, int lane) {
  __syncwarp();
  unsigned before = 0;
  if (lane == 0) before = simt::add_acq_rel(reinterpret_cast<unsigned*>(arrived), 1);
  before = __shfl_sync(kAll, before, 0);
  __syncwarp();
  if (before + 1 < gridDim.x) return false;
  if (lane == 0) *arrived = 0;
  return true;
}

__global__ void __launch_bounds__(kWarp) beam_sources(BeamStepArgs x) {
  simt::wait_for_earlier();
  S2S_SHARED(int32_t[kNearRanks], near);
  const int64_t source = blockIdx.x, step = *x.step, live = x.live[source];
  if (step < 0) return;
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t given = x.beam * x.k, all = x.sources * given, from = source * given;
  float* kept_log_probs = x.kept + 2 * step * all + from;
  int32_t* kept_columns = reinterpret_cast<int32_t*>(kept_log_probs + all);
  for (int64_t i = lane; i < given; i += kWarp) {
    const float log_prob = x.log_probs[from + i];
    const int32_t column = x.columns[from + i];
    kept_log_probs[i] = log_prob;
    kept_columns[i] = column;
  }
  if (live > 0) advance(x, source, step, live, x.beam <= kNearRanks ? near : x.ranks + source * x.beam, lane);
  if (gridDim.x == 1 || arrives_last(x.arrived, lane)) count_step(x, step, lane);
}

}  // namespace

void beam_step(const BeamStepArgs& x) {
  launch(beam_sources,
         {.grid = dim3(static_cast<unsigned>(x.sources)), .block = dim3(kWarp), .overlaps = true}, x);
}

}  // namespace s2s::cuda

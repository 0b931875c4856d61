// A block for each source. In its first warp every lane has the heads of its rows, and the warp takes the
// best of all, again and again; then all its warps move the rows. The last block to be done counts the step.
#include "cuda/detail/quad.h"
#include "cuda/table.h"
#include "math/beam.h"
#include "ops/beam_step.h"

namespace s2s::cuda {
namespace {

constexpr int kMoveThreads = 256;
constexpr int kNearRows = 128, kNearGiven = 1024, kNearEnds = 64, kNearMoves = 64;

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
    const Head other{__shfl_xor_sync(kAllLanes, mine.sum, distance),
                     __shfl_xor_sync(kAllLanes, mine.row, distance)};
    mine = better(mine, other);
  }
  return mine;
}

// x: of one source alone, its first row being row `first` of all. The first lane writes what belongs to the
// source; each lane what belongs to its rows. sums [beam]: the next rows'.
__device__ void advance(const BeamStepArgs& x, int64_t first, int64_t step, int64_t live, double* sums,
                        int lane) {
  const bool may_end = step >= x.min_length;
  for (int64_t i = lane; i < live; i += kWarp)
    x.ranks[i] = static_cast<int32_t>(math::beam_next_rank(x, i, 0, may_end));
  int64_t chosen = 0;
  for (int64_t place = 0; chosen < x.beam; ++place) {
    Head head{0.0, -1};
    for (int64_t i = lane; i < live; i += kWarp) {
      if (x.ranks[i] >= x.k) continue;
      const double sum = x.sums[i] + static_cast<double>(x.log_probs[i * x.k + x.ranks[i]]);
      head = better(head, {sum, static_cast<int>(i)});
    }
    head = best_of_warp(head);
    if (head.row < 0) break;
    const bool mine = head.row % kWarp == lane;
    const int rank = __shfl_sync(kAllLanes, mine ? x.ranks[head.row] : 0, head.row % kWarp);
    const int32_t token = math::beam_token(x, x.columns[head.row * x.k + rank]);
    if (!math::beam_ends(x, token)) {
      if (lane == 0) {
        x.parents[chosen] = static_cast<int32_t>(first + head.row);
        x.tokens[chosen] = token;
        x.scratch[chosen] = head.sum;
      }
      ++chosen;
    } else if (place < x.beam && lane == 0) {
      math::beam_keep(x, 0, head.sum / x.scales[step + 1]);
    }
    if (mine) x.ranks[head.row] = static_cast<int32_t>(math::beam_next_rank(x, head.row, rank + 1, may_end));
  }
  int survivors = 0;
  __syncwarp();  // every lane has read what lives
  if (lane == 0) {
    survivors = static_cast<int>(math::beam_survivors(x, 0, step, chosen));
    x.live[0] = survivors;
  }
  survivors = __shfl_sync(kAllLanes, survivors, 0);
  __syncwarp();  // the first lane's sums
  for (int64_t i = lane; i < x.beam; i += kWarp) {
    if (i < survivors) {
      sums[i] = x.scratch[i];
    } else {
      x.parents[i] = static_cast<int32_t>(first);
      x.tokens[i] = x.end_tokens[0];
    }
  }
}

// The step is done; whoever is the last to know counts it.
__device__ void count_step(const BeamStepArgs& x, int64_t step, int lane) {
  int any = 0;
  for (int64_t source = lane; source < x.sources; source += kWarp) any |= x.live[source] > 0;
  any = __any_sync(kAllLanes, any);
  if (lane == 0) *x.step = *x.done = static_cast<int32_t>(any ? step + 1 : -(step + 1));
}

__device__ bool arrives_last(int32_t* arrived, int lane) {
  __syncwarp();
  unsigned before = 0;
  if (lane == 0) before = simt::add_acq_rel(reinterpret_cast<unsigned*>(arrived), 1);
  before = __shfl_sync(kAllLanes, before, 0);
  __syncwarp();
  if (before + 1 < gridDim.x) return false;
  if (lane == 0) *arrived = 0;
  return true;
}

// What a step of a source reads again and again, in shared memory where it fits.
struct Near {
  float log_probs[kNearGiven];
  int32_t columns[kNearGiven];
  int32_t ends[kNearEnds];
  double sums[kNearRows], scratch[kNearRows];
  int32_t ranks[kNearRows];
};

// By the first warp of a block.
__device__ void continue_source(const BeamStepArgs& x, int64_t source, int64_t step, int lane) {
  S2S_SHARED(Near, near);
  const int64_t first = source * x.beam, given = x.beam * x.k, all = x.sources * given, from = source * given;
  const bool fits = x.beam <= kNearRows && given <= kNearGiven && x.ends <= kNearEnds;
  float* kept_log_probs = x.kept + 2 * step * all + from;
  int32_t* kept_columns = reinterpret_cast<int32_t*>(kept_log_probs + all);
  const int64_t live = x.live[source];
  for (int64_t i = lane; fits && i < x.ends; i += kWarp) near.ends[i] = x.end_tokens[i];
  for (int64_t i = lane; fits && i < x.beam; i += kWarp) near.sums[i] = x.sums[first + i];
  for (int64_t i = lane; i < given; i += kWarp) {
    const float log_prob = x.log_probs[from + i];
    const int32_t column = x.columns[from + i];
    kept_log_probs[i] = log_prob;
    kept_columns[i] = column;
    if (fits) near.log_probs[i] = log_prob, near.columns[i] = column;
  }
  __syncwarp();
  if (live == 0) return;
  BeamStepArgs own = x;
  own.log_probs = fits ? near.log_probs : x.log_probs + from;
  own.columns = fits ? near.columns : x.columns + from;
  own.end_tokens = fits ? near.ends : x.end_tokens;
  own.sums = fits ? near.sums : x.sums + first;
  own.scratch = fits ? near.scratch : x.scratch + first;
  own.ranks = fits ? near.ranks : x.ranks + first;
  own.live += source, own.finished += source, own.best += source * x.num_hypotheses;
  own.parents += first, own.tokens += first;
  advance(own, first, step, live, x.sums + first, lane);
}

// The rows of a source, by its block: a warp moves one row of one array after another. moves: those of the
// arrays, the first kNearMoves of them in shared memory.
__device__ void move_rows(const BeamStepArgs& x, int64_t source, const RowMove* near_moves) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t first = source * x.beam;
  for (int64_t i = warp; i < x.beam * x.move_count; i += kMoveThreads / kWarp) {
    const int64_t row = first + i / x.move_count, m = i % x.move_count;
    const RowMove move = m < kNearMoves ? near_moves[m] : x.moves[m];
    const float* from = move.from + x.parents[row] * move.width;
    float* to = move.to + row * move.width;
    const bool whole = move.width % kQuad == 0;
#pragma unroll 4
    for (int64_t c = kQuad * lane; c < move.width; c += kQuad * kWarp)
      store_quad(to + c, load_quad(from + c, move.width - c, whole), move.width - c, whole);
  }
}

__global__ void __launch_bounds__(kMoveThreads) beam_sources(BeamStepArgs x) {
  simt::wait_for_earlier();
  S2S_SHARED(RowMove[kNearMoves], moves);
  const int64_t source = blockIdx.x, step = *x.step;
  if (step < 0) return;
  const int thread = static_cast<int>(threadIdx.x);
  const bool decides = thread < kWarp;
  if (decides) continue_source(x, source, step, thread);
  if (x.move_count > 0) {
    const int m = thread - kWarp;  // the others have nothing to do meanwhile
    if (m >= 0 && m < kNearMoves && m < x.move_count) moves[m] = x.moves[m];
    __syncthreads();
    if (x.live[source] > 0) move_rows(x, source, moves);
  }
  __syncthreads();  // all have read the step
  if (decides && (gridDim.x == 1 || arrives_last(x.arrived, thread))) count_step(x, step, thread);
}

}  // namespace

void beam_step(const BeamStepArgs& x) {
  launch(beam_sources,
         {.grid = dim3(static_cast<unsigned>(x.sources)),
          .block = dim3(x.move_count > 0 ? kMoveThreads : kWarp),
          .overlaps = true},
         x);
}

}  // namespace s2s::cuda

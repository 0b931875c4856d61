// FewRows: up to sixteen rows of a times b, the weights streamed once. A warp takes eight columns, four lanes
// each, and a slice of K, which it keeps in registers while the rows pass by in shared memory; the warps of a
// block take slices side by side, or, where K has few, more columns. Each lane asks for its next slice before
// the sums of the last one are joined, which is done for several groups of columns at once; for the first
// slice, before the kernel ahead has ended, if the caller says so.
//
// The order of a sum depends on K alone, and tile.h keeps the same: slices of 128, in each of which lane l
// has the chain of fma over k with k / 8 % 4 == l; a slice is (0 + 1) + (2 + 3), the sum takes the slices in
// order. int8 sums are exact integers.
#pragma once

#include "cuda/detail/activations.h"
#include "cuda/detail/weights.h"

namespace s2s::cuda {

constexpr int kFewThreads = 256, kFewWarps = kFewThreads / 32;
constexpr int kWarpColumns = 8;
constexpr int kFewRows = 16;  // at most

template <class Element>
struct Slice {
  static constexpr int kLane = sizeof(Element) == 1 ? 16 : 8;  // neighbours in k of one lane
  static constexpr int kStep = 4 * kLane;
  static constexpr int kSteps = 4;
  static constexpr int kWidth = kSteps * kStep;
  static constexpr int kStepLoads = kLane / kLoad<Element>;
  static constexpr int kLoads = kSteps * kStepLoads;
};

// How many slices of K a block takes at once.
template <class Element>
S2S_INLINE int slices_at_once(int K) {
  int slices = 1;
  while (slices < kFewWarps && slices * Slice<Element>::kWidth < K) slices *= 2;
  return slices;
}

// Columns of a block.
template <class Element>
S2S_INLINE int few_rows_columns(int K) {
  return kWarpColumns * (kFewWarps / slices_at_once<Element>(K));
}

// Groups of columns whose sums are joined at once, so that there are no more than kJoinedRows rows of them.
constexpr int kJoinedRows = 32;
S2S_INLINE int few_rows_groups(int rows) {
  return rows > 8 ? 2 : rows > 4 ? 4 : 8;
}

// Bytes of shared memory for up to `rows`: the staged rows and their bounds; twice the slices' sums; the
// sums.
template <class Element>
S2S_INLINE size_t few_rows_shared(int rows, int K) {
  const size_t depth = static_cast<size_t>(slices_at_once<Element>(K) * Slice<Element>::kWidth);
  return rows * (depth * (sizeof(Element) == 1 ? 1 : 4) + 4) + kJoinedRows * 3 * 4 * kFewWarps * kWarpColumns;
}

template <class Element>
class FewRows {
  using S = Slice<Element>;
  using Staged = std::conditional_t<sizeof(Element) == 1, int8_t, float>;
  using Sum = std::conditional_t<sizeof(Element) == 1, int, float>;

 public:
  // Rows [first, first + rows) of a. `shared`: few_rows_shared<Element>(rows, K).
  __device__ FewRows(const Activations& a, const Weights<Element>& b, int64_t first, int rows, char* shared)
      : a_(a),
        b_(b),
        first_(first),
        rows_(rows),
        slices_(slices_at_once<Element>(a.K)),
        groups_(few_rows_groups(rows)) {
    depth_ = slices_ * S::kWidth;
    columns_ = kWarpColumns * (kFewWarps / slices_);
    rounds_ = a.K > depth_ ? (a.K + depth_ - 1) / depth_ : 1;
    staged_ = reinterpret_cast<Staged*>(shared);
    sums_ = reinterpret_cast<Sum*>(staged_ + rows * depth_);
    totals_ = sums_ + 2 * groups_ * kFewWarps * kWarpColumns * rows;
    bounds_ = reinterpret_cast<float*>(totals_ + groups_ * kFewWarps * kWarpColumns * rows);
  }

  // Asks for the weights that multiply(begin, end, ...) wants first.
  __device__ __forceinline__ void ask(int64_t begin, int64_t end) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    load(begin + warp / slices_ * kWarpColumns + lane / 4, end, warp % slices_ * S::kWidth, weights_);
  }

  // After ask(begin, end): finish(row, column, sum) for these rows and columns [begin, end), of which
  // a block takes few_rows_columns() and goes on `stride` columns further. Rows count from `first`. All
  // threads of the block come here.
  template <class F>
  __device__ void multiply(int64_t begin, int64_t end, int64_t stride, const F& finish) {
    const int warp = static_cast<int>(threadIdx.x) / 32, slice = warp % slices_;
    const int column = warp / slices_ * kWarpColumns + static_cast<int>(threadIdx.x) % 32 / 4;
    if (!prepared_) prepare();
    for (int64_t base = begin; base < end; base += groups_ * stride) {
      const int count = static_cast<int>(min((end - base + stride - 1) / stride, int64_t{groups_}));
      for (int round = 0; round < rounds_; ++round) {
        const bool last = round + 1 == rounds_;
        if (rounds_ > 1) {
          stage(round * depth_);
          __syncthreads();
        }
#pragma unroll 1
        for (int group = 0; group < count; ++group) {
          multiply_slice(weights_, slice, column, group);
          const bool more = group + 1 < count;  // else the next round's, or the next groups'
          const int64_t next = more ? base + (group + 1) * stride : last ? base + groups_ * stride : base;
          const int next_round = more ? round : last ? 0 : round + 1;
          load(next + column, end, next_round * depth_ + slice * S::kWidth, weights_);
        }
        __syncthreads();
        add_slices(base, end, stride, count, round == 0, last, finish);
        turn_ ^= 1;
      }
    }
  }

 private:
  // The slice at k of one column, this lane's part; zeros past the ends.
  __device__ __forceinline__ void load(int64_t column, int64_t end, int k, uint4 (&to)[S::kLoads]) const {
    k += static_cast<int>(threadIdx.x) % 4 * S::kLane;
    const Element* from = b_.rows + column * b_.pitch + k;
    const int left = column < end ? b_.pitch - k : 0;
#pragma unroll
    for (int i = 0; i < S::kLoads; ++i) {
      const int at = i / S::kStepLoads * S::kStep + i % S::kStepLoads * kLoad<Element>;
      to[i] = at < left ? load_weights(from + at) : make_uint4(0, 0, 0, 0);
    }
  }

  // What comes once: the rows' bounds, and the rows themselves where they fit.
  __device__ void prepare() {
    prepared_ = true;
    if constexpr (sizeof(Element) == 1) {
      for (int r = static_cast<int>(threadIdx.x) / 32; r < rows_; r += kFewWarps) {
        const float bound = row_bound(a_, first_ + r);
        if (threadIdx.x % 32 == 0) bounds_[r] = bound;
      }
      __syncthreads();
    }
    if (rounds_ == 1) stage(0);
    __syncthreads();
  }

  // Columns [k0, k0 + depth) of the rows -> shared memory, zeros past the end; all of a thread's are on their
  // way before the first is stored.
  __device__ void stage(int k0) {
    constexpr int kAtOnce = 4;
    const int quads = depth_ / kQuad, all = rows_ * quads;
    for (int i = static_cast<int>(threadIdx.x); i < all; i += kAtOnce * kFewThreads) {
      float4 x[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        const int at = min(i + j * kFewThreads, all - 1);
        x[j] = a_.quad(first_ + at / quads, k0 + at % quads * kQuad);
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        const int at = i + j * kFewThreads;
        if (at >= all) break;
        if constexpr (sizeof(Element) == 1)
          round_quad(staged_ + at * kQuad, x[j], bounds_[at / quads]);
        else
          *reinterpret_cast<float4*>(staged_ + at * kQuad) = x[j];
      }
    }
  }

  // Where the sums of a group and slice lie: [rows][columns].
  __device__ __forceinline__ Sum* sums_of(int group, int slice) const {
    return sums_ + ((turn_ * groups_ + group) * slices_ + slice) * rows_ * columns_;
  }

  __device__ __forceinline__ void multiply_slice(const uint4 (&weights)[S::kLoads], int slice, int column,
                                                 int group) {
    const LaneWeights<Element> w(weights);
    const int lane = static_cast<int>(threadIdx.x) % 4;
    const Staged* a = staged_ + slice * S::kWidth + lane * S::kLane;
    Sum* sums = sums_of(group, slice) + column;
#pragma unroll 2
    for (int r = 0; r < rows_; ++r) {
      Sum sum = w.multiply(a + r * depth_);
      sum += __shfl_xor_sync(kAllLanes, sum, 1);
      sum += __shfl_xor_sync(kAllLanes, sum, 2);
      if (lane == r % 4) sums[r * columns_] = sum;
    }
  }

  // The slices of a round -> the sums of some groups, each kept by one thread from round to round.
  template <class F>
  __device__ __forceinline__ void add_slices(int64_t base, int64_t end, int64_t stride, int groups,
                                             bool first, bool last, const F& finish) {
    const int each = rows_ * columns_;
    for (int i = static_cast<int>(threadIdx.x); i < groups * each; i += kFewThreads) {
      const int group = i / each, at = i - group * each;
      Sum total = first ? Sum{0} : totals_[i];
      for (int s = 0; s < slices_; ++s) total += sums_of(group, s)[at];
      if (!last) {
        totals_[i] = total;
        continue;
      }
      const int row = at / columns_;
      const int64_t column = base + group * stride + at % columns_;
      if (column >= end) continue;
      if constexpr (sizeof(Element) == 1)
        finish(row, column, scaled(total, b_.scales[column], bounds_[row] / 127.0f));
      else
        finish(row, column, total);
    }
  }

  const Activations& a_;
  const Weights<Element>& b_;
  const int64_t first_;
  const int rows_, slices_, groups_;
  int depth_, columns_, rounds_, turn_ = 0;
  bool prepared_ = false;
  uint4 weights_[S::kLoads];
  Staged* staged_;  // [rows][depth]
  Sum* sums_;       // [2][groups][slices][rows][columns]
  Sum* totals_;     // [groups][rows][columns]
  float* bounds_;   // [rows]
};

}  // namespace s2s::cuda

// The weights of a block for a whole walk. What each warp multiplies first stays in its registers, as far as
// k = kHeldDepth; the others, and what lies behind, in shared memory.
//   float32   a warp multiplies four rows at a time, and holds one such group: two would spill
//   16 bits   sixteen rows on tensor cores, which take the operands rounded to 16 bits; it holds one group
//   int8      four rows, none held
// Sums have one order: of float32 and int8 that of recurrent_dot.h, so a step-by-step walk gives the same
// bits.
#pragma once

#include "cuda/detail/recurrent_cell.h"

namespace s2s::cuda {

constexpr int kPersistentThreads = 256, kPersistentWarps = kPersistentThreads / 32;
constexpr int kHeldDepth = 512;

template <class Element>
constexpr bool kOnTensorCores = std::is_same_v<Element, Half> || std::is_same_v<Element, BFloat>;
template <class Element>
constexpr int kGroupRows = kOnTensorCores<Element> ? 16 : 4;
// The second phase of a step holds none: there are no registers left.
template <class Element, int PHASE>
constexpr int kHeldGroups = PHASE > 0 || std::is_same_v<Element, int8_t> ? 0 : 1;

// What persistent kernels multiply with: tensor cores take both sides in one type.
template <class Element>
using TeamOperand = std::conditional_t<kOnTensorCores<Element>, Element, OperandOf<Element>>;

// Elements of a row that are multiplied: tensor cores take zeros behind its end rather than ask for it.
template <class T>
S2S_INLINE int multiplied_depth(int depth) {
  return kOnTensorCores<T> ? (depth + 127) / 128 * 128 : depth;
}
// Elements from row to row in shared memory. The lanes of an mma read eight rows at once: no two meet in a
// bank if neighbours lie 64 bytes apart, modulo 128.
template <class T>
S2S_INLINE int spread_pitch(int64_t width) {
  const int pitch = static_cast<int>(row_pitch<T>(width));
  return kOnTensorCores<T> ? multiplied_depth<T>(pitch) + 32 : pitch;
}

// Row m lies at row * pitch of the first ones, from held_depth on, where it is held, else whole behind them.
struct WeightsLayout {
  int depth;        // elements of a row, all segments
  int pitch, tail;  // elements from row to row: of whole rows, of the held ones' tails
  int held;         // rows
  int splits;       // warps that share a group of rows: each second block of k is the second one's
  int elements;

  __host__ __device__ int held_depth() const { return kHeldDepth * splits; }
  __host__ __device__ int first(int m) const { return m < held ? held_depth() : 0; }
  // Where element 0 of row m lies, or would.
  __host__ __device__ int at(int m) const {
    return m < held ? m * tail - held_depth() : held * tail + (m - held) * pitch;
  }
};
template <int PHASE, class Cell>
WeightsLayout weights_layout(const Cell& cell, int units) {
  using Element = typename Cell::Element;
  const int rows = units * Cell::kGates[PHASE],
            most = kHeldGroups<Element, PHASE> * kPersistentWarps * kGroupRows<Element>;
  const int depth = phase_pitch<Element>(cell, PHASE), pitch = spread_pitch<Element>(depth);
  WeightsLayout layout = {depth, pitch, 0, rows < most ? rows : most, 1, 0};
  if (kOnTensorCores<Element> && rows <= most / 2) layout.splits = 2;
  const int behind = depth - layout.held_depth();
  layout.tail = behind > 0 ? spread_pitch<Element>(behind) : 0;
  layout.elements = layout.held * layout.tail + (rows - layout.held) * pitch;
  return layout;
}

// Rows in global memory, segment after segment.
template <class Element>
struct GlobalRows {
  const Element* row[2];
  int pitch[2];

  __device__ __forceinline__ uint4 load(int m, int k) const {
    const bool second = k >= pitch[0];
    const Element* from =
        second ? row[1] + int64_t{m} * pitch[1] + (k - pitch[0]) : row[0] + int64_t{m} * pitch[0] + k;
    return __ldcg(reinterpret_cast<const uint4*>(from));
  }
};

template <class Element, int PHASE>
class BlockWeights {
 public:
  using T = TeamOperand<Element>;
  static constexpr int kGroups = kHeldGroups<Element, PHASE>, kRows = kGroupRows<Element>;

  __device__ __forceinline__ BlockWeights(const WeightsLayout& layout, Element* shared)
      : layout_(layout), shared_(shared) {}

  __device__ __forceinline__ void load(const GlobalRows<Element>& from, int count) {
    const int end = multiplied_depth<Element>(layout_.depth);
    for (int m = warp(); m < count; m += kPersistentWarps) {
      for (int k = layout_.first(m) + lane() * kLoad<Element>; k < end; k += 32 * kLoad<Element>)
        *reinterpret_cast<uint4*>(shared_ + layout_.at(m) + k) = load_or_zeros(from, m, k);
    }
    if constexpr (kGroups > 0) {
#pragma unroll
      for (int h = 0; h < kHeldLoads; ++h) {
        const int m = held_row(h);
        held_[h] = m < count ? load_or_zeros(from, m, held_depth(h)) : uint4{0, 0, 0, 0};
      }
    }
  }

  // sums[r * count + m] of `count` rows and the operand rows r < rows, at most kTileRows; `scales` of int8.
  // Where two warps share a group, the second one's part lies `part` further. The caller synchronises.
  __device__ __forceinline__ void multiply(const T* operands, int pitch, int count, int rows,
                                           const float* scales, float* sums, int part) const {
    if constexpr (kOnTensorCores<Element>) {
      if (layout_.splits == 2)
        by_tensor_cores<2>(operands, pitch, count, rows, sums + (warp() / kSplitGroups) * part);
      else
        by_tensor_cores<1>(operands, pitch, count, rows, sums);
    } else if (rows == 1) {
      by_dots<1>(operands, pitch, count, rows, scales, sums);
    } else if (rows <= 4) {
      by_dots<4>(operands, pitch, count, rows, scales, sums);
    } else {
      by_dots<kTileRows>(operands, pitch, count, rows, scales, sums);
    }
  }

 private:
  static constexpr int kBlockDepth = kOnTensorCores<Element> ? 32 : 128;  // k that a warp takes at a time
  static constexpr int kBlocks = kHeldDepth / kBlockDepth;
  static constexpr int kLoads = kOnTensorCores<Element> ? 2 : 4;  // of a lane, per block and group
  static constexpr int kHeldLoads = kGroups * kBlocks * kLoads;

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x) / 32; }
  static constexpr int kSplitGroups = kPersistentWarps / 2;  // of rows, where two warps share one
  static __device__ __forceinline__ int first_row(int group) {
    return (group * kPersistentWarps + warp()) * kRows;
  }
  __device__ __forceinline__ uint4 load_or_zeros(const GlobalRows<Element>& from, int m, int k) const {
    return k < layout_.depth ? from.load(m, k) : uint4{0, 0, 0, 0};
  }
  // Of load h = (group * kBlocks + block) * kLoads + number. An mma's lane has rows lane / 4 and that plus 8,
  // and eight elements of each, which make half of two mmas' fragments: both sides take k in this order.
  __device__ __forceinline__ int held_row(int h) const {
    const int group = h / (kBlocks * kLoads), number = h % kLoads;
    if constexpr (kOnTensorCores<Element>)
      return (layout_.splits == 2 ? warp() % kSplitGroups * kRows : first_row(group)) + lane() / 4 +
             8 * number;
    return first_row(group) + number;
  }
  __device__ __forceinline__ int held_depth(int h) const {
    int block = h / kLoads % kBlocks;
    if (layout_.splits == 2) block = 2 * block + warp() / kSplitGroups;
    return block * kBlockDepth + lane_depth();
  }
  static __device__ __forceinline__ int lane_depth() {
    return kOnTensorCores<Element> ? lane() % 4 * 8 : lane() * 4;
  }

  // --- four rows at a time, by lanes' sums
  template <int ROWS>
  __device__ __forceinline__ void by_dots(const T* operands, int pitch, int count, int rows,
                                          const float* scales, float* sums) const {
    int at[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) at[r] = min(r, rows - 1) * pitch;
    if constexpr (kGroups > 0) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        if (first_row(group) >= count) break;
        float sum[4 * ROWS] = {};
        held_dots<ROWS>(group, operands, at, sum);
        finish_dots<ROWS>(first_row(group), kHeldDepth, operands, at, count, rows, scales, sum, sums);
      }
    }
#pragma unroll 1
    for (int m = first_row(kGroups); m < count; m += kPersistentWarps * kRows) {
      SumOf<Element> sum[4 * ROWS] = {};
      finish_dots<ROWS>(m, 0, operands, at, count, rows, scales, sum, sums);
    }
  }

  template <int ROWS>
  __device__ __forceinline__ void held_dots(int group, const T* operands, const int (&at)[ROWS],
                                            float (&sum)[4 * ROWS]) const {
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      const int k = block * kBlockDepth + lane_depth();
      if (k >= layout_.depth) break;
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const float4 operand = load4(operands + (at[r] + k));
#pragma unroll
        for (int m = 0; m < 4; ++m) {
          const uint4 bits = held_[(group * kBlocks + block) * kLoads + m];
          const float4 row = {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z),
                              __uint_as_float(bits.w)};
          sum[r * 4 + m] = multiply4(row, operand, sum[r * 4 + m]);
        }
      }
    }
  }

  // From shared memory what is left, from k on.
  template <int ROWS>
  __device__ __forceinline__ void finish_dots(int first, int k, const T* operands, const int (&at)[ROWS],
                                              int count, int rows, const float* scales,
                                              SumOf<Element> (&sum)[4 * ROWS], float* sums) const {
    int w_at[4];
#pragma unroll
    for (int m = 0; m < 4; ++m) w_at[m] = layout_.at(min(first + m, count - 1));
    dot<4, ROWS>(shared_, w_at, operands, at, k + 4 * lane(), layout_.depth, sum);
    const SumOf<Element> total = warp_sums(sum);
    constexpr int kSharers = 32 / (4 * ROWS);
    const int r = lane() / kSharers / 4, m = first + lane() / kSharers % 4;
    if (lane() % kSharers == 0 && r < rows && m < count)
      sums[r * count + m] =
          std::is_same_v<Element, int8_t> ? static_cast<float>(total) * scales[m] : static_cast<float>(total);
  }

  // --- sixteen rows at a time, on tensor cores. A sum has four chains, two of even and two of odd blocks of
  // k, so that no mma waits for the one before it, and two warps can share it; loads run ahead of them.
  using Sums = float[4][4];
  static constexpr int kAhead = 2;  // blocks that are loaded together

  template <int SPLITS>
  __device__ __forceinline__ void by_tensor_cores(const T* operands, int pitch, int count, int rows,
                                                  float* sums) const {
    constexpr int kStride = SPLITS * kBlockDepth;  // from one of this warp's blocks to the next
    const int skipped = SPLITS == 2 ? warp() / kSplitGroups * kBlockDepth : 0;
    // The operand row of this lane, or any: sums of rows that do not exist are dropped.
    const T* mine = operands + min(lane() / 4, rows - 1) * pitch + skipped + lane_depth();
    if constexpr (kGroups > 0) {
      const int first = SPLITS == 2 ? warp() % kSplitGroups * kRows : first_row(0);
      if (first < count) {
        Sums sum = {};
        uint4 operand[2][kAhead];
        load_blocks<kStride>(mine, operand[0]);
#pragma unroll
        for (int block = 0; block < kBlocks; block += kAhead) {
          if (block * kStride >= layout_.depth) break;
          const int turn = block / kAhead % 2;
          const int next = block + kAhead;
          if (next < kBlocks && next * kStride < layout_.depth)
            load_blocks<kStride>(mine + next * kStride, operand[1 - turn]);
#pragma unroll
          for (int b = 0; b < kAhead; ++b)
            multiply_block(held_[2 * (block + b)], held_[2 * (block + b) + 1], operand[turn][b],
                           SPLITS == 2 ? 0 : b, sum);
        }
        finish_mma<kStride>(first, kHeldDepth * SPLITS, skipped + lane_depth(), mine, count, rows, sum, sums);
      }
    }
    if constexpr (SPLITS == 1) {
#pragma unroll 1
      for (int m = first_row(kGroups); m < count; m += kPersistentWarps * kRows) {
        Sums sum = {};
        finish_mma<kStride>(m, 0, lane_depth(), mine, count, rows, sum, sums);
      }
    }
  }

  // This lane's part of some blocks of a row, which has zeros behind its end.
  template <int STRIDE, class From>
  static __device__ __forceinline__ void load_blocks(const From* from, uint4 (&to)[kAhead]) {
#pragma unroll
    for (int b = 0; b < kAhead; ++b) to[b] = *reinterpret_cast<const uint4*>(from + b * STRIDE);
  }

  // Two mmas: 32 k of sixteen weight rows and eight operand rows.
  static __device__ __forceinline__ void multiply_block(uint4 upper, uint4 lower, uint4 operand, int block,
                                                        Sums& sum) {
    using Mma = std::conditional_t<std::is_same_v<Element, Half>, __half, __nv_bfloat16>;
    const uint32_t even[4] = {upper.x, lower.x, upper.y, lower.y},
                   odd[4] = {upper.z, lower.z, upper.w, lower.w};
    const uint32_t even_b[2] = {operand.x, operand.y}, odd_b[2] = {operand.z, operand.w};
    float (&first)[4] = sum[block % 2 * 2];
    float (&second)[4] = sum[block % 2 * 2 + 1];
    simt::mma_m16n8k16<Mma>(first, even, even_b, first);
    simt::mma_m16n8k16<Mma>(second, odd, odd_b, second);
  }

  // From shared memory what lies behind k = start; `lane_at`: where this lane begins in a block.
  template <int STRIDE>
  __device__ __forceinline__ void finish_mma(int first, int start, int lane_at, const T* operand, int count,
                                             int rows, Sums& sum, float* sums) const {
    const int m = first + lane() / 4;
    const Element* upper = shared_ + layout_.at(min(m, count - 1)) + lane_at;
    const Element* lower = shared_ + layout_.at(min(m + 8, count - 1)) + lane_at;
#pragma unroll 1
    for (int k = start; k < layout_.depth; k += kAhead * STRIDE) {
      uint4 b[kAhead], w[2][kAhead];
      load_blocks<STRIDE>(operand + k, b);
      load_blocks<STRIDE>(upper + k, w[0]);
      load_blocks<STRIDE>(lower + k, w[1]);
#pragma unroll
      for (int i = 0; i < kAhead; ++i)
        multiply_block(w[0][i], w[1][i], b[i], STRIDE > kBlockDepth ? 0 : i, sum);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = m + e / 2 * 8, r = lane() % 4 * 2 + e % 2;
      if (r < rows && row < count)
        sums[r * count + row] =
            STRIDE > kBlockDepth ? sum[0][e] + sum[1][e] : (sum[0][e] + sum[1][e]) + (sum[2][e] + sum[3][e]);
    }
  }

  const WeightsLayout& layout_;
  Element* shared_;
  uint4 held_[kHeldLoads > 0 ? kHeldLoads : 1];
};

}  // namespace s2s::cuda

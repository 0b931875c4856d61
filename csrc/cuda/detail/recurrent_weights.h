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

// Elements from row to row in shared memory. The lanes of an mma read eight rows at once: no two meet in a
// bank if neighbours lie 64 bytes apart, modulo 128.
template <class T>
__host__ __device__ inline int spread_pitch(int64_t width) {
  const int64_t pitch = row_pitch<T>(width);
  return static_cast<int>(kOnTensorCores<T> ? (pitch + 31) / 64 * 64 + 32 : pitch);
}

// Row m lies at row * pitch of the first ones, from kHeldDepth on, where it is held, else whole behind them.
struct WeightsLayout {
  int depth;        // elements of a row, all segments
  int pitch, tail;  // elements from row to row: of whole rows, of the held ones' tails
  int held;         // rows
  int elements;

  __host__ __device__ int first(int m) const { return m < held ? kHeldDepth : 0; }
  // Where element 0 of row m lies, or would.
  __host__ __device__ int at(int m) const {
    return m < held ? m * tail - kHeldDepth : held * tail + (m - held) * pitch;
  }
};
template <int PHASE, class Cell>
WeightsLayout weights_layout(const Cell& cell, int units) {
  using Element = typename Cell::Element;
  const int rows = units * Cell::kGates[PHASE],
            most = kHeldGroups<Element, PHASE> * kPersistentWarps * kGroupRows<Element>;
  const int depth = phase_pitch<Element>(cell, PHASE), pitch = spread_pitch<Element>(depth);
  WeightsLayout layout = {depth, pitch, depth > kHeldDepth ? spread_pitch<Element>(depth - kHeldDepth) : 0,
                          rows < most ? rows : most, 0};
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
    const int words = layout_.depth / kLoad<Element>;
    for (int e = static_cast<int>(threadIdx.x); e < count * words; e += kPersistentThreads) {
      const int m = e / words, k = e % words * kLoad<Element>;
      if (k >= layout_.first(m)) *reinterpret_cast<uint4*>(shared_ + layout_.at(m) + k) = from.load(m, k);
    }
    if constexpr (kGroups > 0) {
#pragma unroll
      for (int h = 0; h < kHeldLoads; ++h) {
        const int m = held_row(h), k = held_depth(h);
        held_[h] = m < count && k < layout_.depth ? from.load(m, k) : uint4{0, 0, 0, 0};
      }
    }
  }

  // sums[r * count + m] of `count` rows and the operand rows r < rows, at most kTileRows; `scales` of int8.
  // The caller synchronises.
  __device__ __forceinline__ void multiply(const T* operands, int pitch, int count, int rows,
                                           const float* scales, float* sums) const {
    if constexpr (kOnTensorCores<Element>) {
      by_tensor_cores(operands, pitch, count, rows, sums);
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
  static __device__ __forceinline__ int first_row(int group) {
    return (group * kPersistentWarps + warp()) * kRows;
  }
  // Of load h = (group * kBlocks + block) * kLoads + number. An mma's lane has rows lane / 4 and that plus 8,
  // and eight elements of each, which make half of two mmas' fragments: both sides take k in this order.
  static __device__ __forceinline__ int held_row(int h) {
    const int group = h / (kBlocks * kLoads), number = h % kLoads;
    return first_row(group) + (kOnTensorCores<Element> ? lane() / 4 + 8 * number : number);
  }
  static __device__ __forceinline__ int held_depth(int h) {
    return h / kLoads % kBlocks * kBlockDepth + lane_depth();
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

  // --- sixteen rows at a time, on tensor cores. A sum has four chains, two of even and two of odd blocks, so
  // that no mma waits for the one before it; loads run ahead of them.
  using Sums = float[4][4];
  static constexpr int kAhead = 2;  // blocks that are loaded together

  __device__ __forceinline__ void by_tensor_cores(const T* operands, int pitch, int count, int rows,
                                                  float* sums) const {
    // The operand row of this lane, or any: sums of rows that do not exist are dropped.
    const T* mine = operands + min(lane() / 4, rows - 1) * pitch;
    if constexpr (kGroups > 0) {
      if (first_row(0) < count) {
        Sums sum = {};
        uint4 operand[2][kAhead];
        load_operands(mine, 0, operand[0]);
#pragma unroll
        for (int block = 0; block < kBlocks; block += kAhead) {
          if (block * kBlockDepth >= layout_.depth) break;
          const int turn = block / kAhead % 2;
          if (block + kAhead < kBlocks) load_operands(mine, block + kAhead, operand[1 - turn]);
#pragma unroll
          for (int b = 0; b < kAhead; ++b)
            multiply_block(held_[2 * (block + b)], held_[2 * (block + b) + 1], operand[turn][b], b, sum);
        }
        finish_mma(first_row(0), kHeldDepth, mine, count, rows, sum, sums);
      }
    }
#pragma unroll 1
    for (int m = first_row(kGroups); m < count; m += kPersistentWarps * kRows) {
      Sums sum = {};
      finish_mma(m, 0, mine, count, rows, sum, sums);
    }
  }

  // This lane's part of some blocks of an operand row; zeros past its end.
  __device__ __forceinline__ void load_operands(const T* row, int block, uint4 (&to)[kAhead]) const {
#pragma unroll
    for (int b = 0; b < kAhead; ++b) {
      const int k = (block + b) * kBlockDepth + lane_depth();
      to[b] = k < layout_.depth ? *reinterpret_cast<const uint4*>(row + k) : uint4{0, 0, 0, 0};
    }
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

  __device__ __forceinline__ void finish_mma(int first, int start, const T* operand, int count, int rows,
                                             Sums& sum, float* sums) const {
    const int m = first + lane() / 4;
    const Element* upper = shared_ + layout_.at(min(m, count - 1));
    const Element* lower = shared_ + layout_.at(min(m + 8, count - 1));
#pragma unroll 1
    for (int block = start / kBlockDepth; block * kBlockDepth < layout_.depth; block += kAhead) {
      uint4 b[kAhead], w[kAhead][2];
      load_operands(operand, block, b);
      load_operands(upper, block, w, 0);
      load_operands(lower, block, w, 1);
#pragma unroll
      for (int i = 0; i < kAhead; ++i) multiply_block(w[i][0], w[i][1], b[i], i, sum);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = m + e / 2 * 8, r = lane() % 4 * 2 + e % 2;
      if (r < rows && row < count) sums[r * count + row] = (sum[0][e] + sum[1][e]) + (sum[2][e] + sum[3][e]);
    }
  }
  __device__ __forceinline__ void load_operands(const Element* row, int block, uint4 (&to)[kAhead][2],
                                                int half) const {
#pragma unroll
    for (int b = 0; b < kAhead; ++b) {
      const int k = (block + b) * kBlockDepth + lane_depth();
      to[b][half] = k < layout_.depth ? *reinterpret_cast<const uint4*>(row + k) : uint4{0, 0, 0, 0};
    }
  }

  const WeightsLayout& layout_;
  Element* shared_;
  uint4 held_[kHeldLoads > 0 ? kHeldLoads : 1];
};

}  // namespace s2s::cuda

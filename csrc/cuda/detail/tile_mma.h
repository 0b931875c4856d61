// TileMma: a tile of a times b on tensor cores, both of float16 or bfloat16, sums in float32, by a block.
// WARP_ROWS x WARP_COLUMNS warps have 16 MMA_ROWS rows and 8 MMA_COLUMNS columns each. 32 k of both operands
// come at a time (cp.async), several stages on their way. The sum of an element takes k by sixteens, in
// order, whatever the tile's size.
#pragma once

#include "cuda/detail/activations.h"
#include "cuda/detail/weights.h"

namespace s2s::cuda {

template <class Element>
using MmaType = std::conditional_t<std::is_same_v<Element, Half>, __half, __nv_bfloat16>;

template <class Element, int WARP_ROWS, int WARP_COLUMNS, int MMA_ROWS, int MMA_COLUMNS>
struct TileMma {
  static_assert(sizeof(Element) == 2 && MMA_COLUMNS % 2 == 0);
  static constexpr int kRows = WARP_ROWS * MMA_ROWS * 16, kColumns = WARP_COLUMNS * MMA_COLUMNS * 8;
  static constexpr int kThreads = 32 * WARP_ROWS * WARP_COLUMNS;
  static constexpr int kBlocks = 512 / kThreads;  // of a multiprocessor, at least: 128 registers a thread
  static constexpr int kDepth = 32, kStages = 4;
  static constexpr int kLoads = kDepth / 8;  // of 16 bytes, per row and stage
  static constexpr int kPitch = kDepth + 8;  // elements from row to row: no two rows meet in a bank
  static constexpr int kStage = (kRows + kColumns) * kPitch;
  static constexpr size_t kShared = kStages * kStage * sizeof(Element);

  // Rounded rows, zeros past K, row_pitch(K) apart.
  struct Left {
    const Element* data;
    int64_t rows;
  };

  // finish(row, column, sum) for those there are, counted from the tile's first. `shared`: kShared bytes,
  // which finish may write.
  template <class F>
  static __device__ void multiply(const Left& a, const Weights<Element>& b, int64_t row, int64_t column,
                                  char* shared, const F& finish) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int first_row = warp % WARP_ROWS * MMA_ROWS * 16, first_column = warp / WARP_ROWS * MMA_COLUMNS * 8;
    Element* stages = reinterpret_cast<Element*>(shared);
    float sum[MMA_ROWS][MMA_COLUMNS][4] = {};
    const int steps = (b.pitch + kDepth - 1) / kDepth;
    for (int step = 0; step < kStages - 1; ++step) fetch(a, b, row, column, step, steps, stages);
    for (int step = 0; step < steps; ++step) {
      simt::cp_async_wait<kStages - 2>();
      __syncthreads();  // this stage is there, and all have left the one before it
      fetch(a, b, row, column, step + kStages - 1, steps, stages);
      const Element* stage = stages + step % kStages * kStage;
      multiply_stage(stage + first_row * kPitch, stage + (kRows + first_column) * kPitch, sum);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < MMA_ROWS; ++i) {
#pragma unroll
      for (int j = 0; j < MMA_COLUMNS; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int r = first_row + 16 * i + lane / 4 + e / 2 * 8,
                    c = first_column + 8 * j + lane % 4 * 2 + e % 2;
          if (row + r < a.rows && column + c < b.N) finish(r, c, sum[i][j][e]);
        }
      }
    }
  }

 private:
  // One step's k -> its stage: rows of a, then columns of b, zeros past the ends. Past the last step an empty
  // group, so that groups count steps.
  static __device__ __forceinline__ void fetch(const Left& a, const Weights<Element>& b, int64_t row,
                                               int64_t column, int step, int steps, Element* stages) {
    if (step < steps) {
      constexpr int kRowsAtOnce = kThreads / kLoads;
      static_assert(kRows % kRowsAtOnce == 0 && kColumns % kRowsAtOnce == 0);
      const Element* rows = a.data + row * b.pitch;
      const Element* columns = b.rows + column * b.pitch;
      const int some_rows = a.rows - row < kRows ? static_cast<int>(a.rows - row) : kRows;
      const int some_columns = b.N - column < kColumns ? static_cast<int>(b.N - column) : kColumns;
      const int r0 = static_cast<int>(threadIdx.x) / kLoads,
                load = static_cast<int>(threadIdx.x) % kLoads * 8;
      const int k = step * kDepth + load;
      Element* to = stages + step % kStages * kStage + r0 * kPitch + load;
#pragma unroll
      for (int i = 0; i < kRows; i += kRowsAtOnce) {
        const bool there = r0 + i < some_rows && k < b.pitch;
        simt::cp_async16(to + i * kPitch, rows + (there ? (r0 + i) * b.pitch + k : 0),
                         there ? kLoadBytes : 0);
      }
#pragma unroll
      for (int i = 0; i < kColumns; i += kRowsAtOnce) {
        const bool there = r0 + i < some_columns && k < b.pitch;
        simt::cp_async16(to + (kRows + i) * kPitch, columns + (there ? (r0 + i) * b.pitch + k : 0),
                         there ? kLoadBytes : 0);
      }
    }
    simt::cp_async_commit();
  }

  static __device__ __forceinline__ void multiply_stage(const Element* a, const Element* b,
                                                        float (&sum)[MMA_ROWS][MMA_COLUMNS][4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      uint32_t x[MMA_ROWS][4], w[MMA_COLUMNS][2];
#pragma unroll
      for (int i = 0; i < MMA_ROWS; ++i)
        simt::ldmatrix_x4<false>(x[i], a + (16 * i + lane % 16) * kPitch + k + lane / 16 * 8);
#pragma unroll
      for (int j = 0; j < MMA_COLUMNS; j += 2) {  // two times eight columns, both halves of k
        uint32_t four[4];
        simt::ldmatrix_x4<false>(four,
                                 b + (8 * j + lane % 8 + lane / 16 * 8) * kPitch + k + lane / 8 % 2 * 8);
        w[j][0] = four[0], w[j][1] = four[1];
        w[j + 1][0] = four[2], w[j + 1][1] = four[3];
      }
#pragma unroll
      for (int i = 0; i < MMA_ROWS; ++i) {
#pragma unroll
        for (int j = 0; j < MMA_COLUMNS; ++j)
          simt::mma_m16n8k16<MmaType<Element>>(sum[i][j], x[i], w[j], sum[i][j]);
      }
    }
  }
};

}  // namespace s2s::cuda

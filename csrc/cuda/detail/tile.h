// Tile: 64 rows of a times 64 columns of b, of floats or of bytes, by a block. Both lie in shared memory as
// they do in global memory, neighbours in k together: 128 bytes of each row at a time, the next ones on their
// way (cp.async) while these are multiplied. A thread has four rows and four columns, sixteen of each apart.
//
// Sums of floats keep the order of few_rows.h: four chains, joined every 128 k. One stage is 32 k, of which
// each chain has eight.
#pragma once

#include "cuda/detail/activations.h"
#include "cuda/detail/weights.h"

namespace s2s::cuda {

template <class Element>
struct Tile {
  static_assert(sizeof(Element) == 4 || sizeof(Element) == 1);
  static constexpr int kRows = 64, kColumns = 64, kThreads = 256;
  static constexpr int kBlocks = 1;                       // of a multiprocessor: the chains want registers
  static constexpr int kLoads = 8;                        // of 16 bytes, per row and stage
  static constexpr int kDepth = kLoads * kLoad<Element>;  // k of a stage
  static constexpr int kPitch = kLoads + 1;        // loads from row to row: no two lanes meet in a bank
  static constexpr int kOperand = kRows * kPitch;  // loads of one operand's stage
  static constexpr int kChains = sizeof(Element) == 4 ? 4 : 1;
  static constexpr int kJoined = 4;  // stages
  static constexpr size_t kShared = 2 * 2 * kOperand * kLoadBytes;

  using Sum = std::conditional_t<sizeof(Element) == 4, float, int>;

  // The left operand's rows: floats of any strides, or bytes and their units.
  struct Left {
    const Element* data;
    int64_t row_stride, k_stride;
    int64_t rows;
    int K;
    bool vectors;  // aligned neighbours
    const float* units;
  };

  // finish(row, column, sum) for those there are, counted from the tile's first. `shared`: kShared bytes,
  // which finish may write.
  template <class F>
  static __device__ void multiply(const Left& a, const Weights<Element>& b, int64_t row, int64_t column,
                                  char* shared, const F& finish) {
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    // A warp has eight of the sixteen columns and four of the sixteen rows.
    const int first_row = warp / 2 * 4 + lane / 8, first_column = warp % 2 * 8 + lane % 8;
    uint4* stages = reinterpret_cast<uint4*>(shared);
    Sum chain[kChains][4][4] = {}, total[4][4] = {};
    const int steps = (a.K + kDepth - 1) / kDepth;
    if (steps > 0) fetch(a, b, row, column, 0, stages);
    for (int step = 0; step < steps; ++step) {
      simt::cp_async_wait<0>();
      __syncthreads();  // this stage is there, and all have left the other
      const uint4* stage = stages + step % 2 * 2 * kOperand;
      if (step + 1 < steps)
        fetch(a, b, row, column, (step + 1) * kDepth, stages + (step + 1) % 2 * 2 * kOperand);
      multiply_stage(stage + first_row * kPitch, stage + kOperand + first_column * kPitch, chain);
      if (step % kJoined == kJoined - 1 || step + 1 == steps) join(chain, total);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int r = first_row + 16 * i, c = first_column + 16 * j;
        if (row + r >= a.rows || column + c >= b.N) continue;
        if constexpr (sizeof(Element) == 1)
          finish(r, c, scaled(total[i][j], b.scales[column + c], a.units[row + r]));
        else
          finish(r, c, total[i][j]);
      }
    }
  }

 private:
  // k0 and what follows -> one stage: rows of a, then columns of b, zeros past the ends.
  static __device__ __forceinline__ void fetch(const Left& a, const Weights<Element>& b, int64_t row,
                                               int64_t column, int k0, uint4* stage) {
    const int thread = static_cast<int>(threadIdx.x), load = thread % kLoads;
    const int k = k0 + load * kLoad<Element>, r0 = thread / kLoads;
    const Element* columns = b.rows + column * b.pitch;
    const Element* rows = a.data + row * a.row_stride;
    const int some_columns = b.N - column < kColumns ? static_cast<int>(b.N - column) : kColumns;
    const int some_rows = a.rows - row < kRows ? static_cast<int>(a.rows - row) : kRows;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int r = r0 + i * (kThreads / kLoads);
      const bool there = r < some_columns && k < b.pitch;
      simt::cp_async16(stage + kOperand + r * kPitch + load, columns + (there ? r * b.pitch + k : 0),
                       there ? kLoadBytes : 0);
      if (!a.vectors) continue;
      const int left = r < some_rows ? static_cast<int>(sizeof(Element)) * (a.K - k) : 0;
      const int bytes = left < 0 ? 0 : left < kLoadBytes ? left : kLoadBytes;
      simt::cp_async16(stage + r * kPitch + load, rows + (bytes > 0 ? r * a.row_stride + k : 0), bytes);
    }
    simt::cp_async_commit();
    if constexpr (sizeof(Element) == 4) {
      if (!a.vectors) copy(a, row, k0, stage);
    }
  }

  // Floats of any strides; lanes read rows side by side, as a transposed matrix has them.
  static __device__ __forceinline__ void copy(const Left& a, int64_t row, int k0, uint4* stage) {
    const int thread = static_cast<int>(threadIdx.x), r = thread % kRows;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int load = thread / kRows + i * (kThreads / kRows), k = k0 + 4 * load;
      const Element* from = a.data + (row + r) * a.row_stride + k * a.k_stride;
      const int left = row + r < a.rows ? a.K - k : 0;
      float x[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) x[e] = e < left ? from[e * a.k_stride] : 0.0f;
      reinterpret_cast<float4*>(stage)[r * kPitch + load] = make_float4(x[0], x[1], x[2], x[3]);
    }
  }

  static __device__ __forceinline__ float multiply_load(float sum, const uint4* x, const uint4* w) {
    const float4 a = *reinterpret_cast<const float4*>(x), b = *reinterpret_cast<const float4*>(w);
    sum = math::fma(a.x, b.x, sum);
    sum = math::fma(a.y, b.y, sum);
    sum = math::fma(a.z, b.z, sum);
    return math::fma(a.w, b.w, sum);
  }
  static __device__ __forceinline__ int multiply_load(int sum, const uint4* x, const uint4* w) {
    return multiply_bytes(sum, *w, *x);
  }

  static __device__ __forceinline__ void multiply_stage(const uint4* a, const uint4* b,
                                                        Sum (&chain)[kChains][4][4]) {
#pragma unroll
    for (int load = 0; load < kLoads; ++load) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          Sum& sum = chain[load / 2 % kChains][i][j];
          sum = multiply_load(sum, a + 16 * i * kPitch + load, b + 16 * j * kPitch + load);
        }
      }
    }
  }

  static __device__ __forceinline__ void join(Sum (&chain)[kChains][4][4], Sum (&total)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if constexpr (kChains == 4)
          total[i][j] += (chain[0][i][j] + chain[1][i][j]) + (chain[2][i][j] + chain[3][i][j]);
        else
          total[i][j] += chain[0][i][j];
#pragma unroll
        for (int c = 0; c < kChains; ++c) chain[c][i][j] = 0;
      }
    }
  }
};

}  // namespace s2s::cuda

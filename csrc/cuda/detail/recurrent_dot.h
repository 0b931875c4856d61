// The one product of every recurrence: weight rows times operand rows, both with k together. A warp does 4 or
// 1 weight rows times up to 8 sequences at a time; lane l takes elements 4l to 4l + 3 of every 128, and the
// lanes' sums meet in one order. So a sum's bits depend on k alone: not on the batch, the blocks, or the
// route taken. 16-bit weights are widened and multiplied in float32, the very sums of float32 weights that
// are so rounded.
#pragma once

#include <type_traits>

#include "cuda/detail/layout.h"
#include "cuda/detail/simt.h"

namespace s2s::cuda {

constexpr int kTileRows = 8;  // sequences that a warp multiplies at once

// What int8 and other weights are multiplied with, and summed in.
template <class Element>
using OperandOf = std::conditional_t<std::is_same_v<Element, int8_t>, int8_t, float>;
template <class Element>
using SumOf = std::conditional_t<std::is_same_v<Element, int8_t>, int, float>;

__device__ __forceinline__ float4 load4(const float* p) {
  return *reinterpret_cast<const float4*>(p);
}
__device__ __forceinline__ float4 load4(const Half* p) {
  const uint2 bits = *reinterpret_cast<const uint2*>(p);
  const auto wide = [](unsigned low) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(low)));
  };
  return {wide(bits.x), wide(bits.x >> 16), wide(bits.y), wide(bits.y >> 16)};
}
__device__ __forceinline__ float4 load4(const BFloat* p) {
  const uint2 bits = *reinterpret_cast<const uint2*>(p);
  return {__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xffff0000u), __uint_as_float(bits.y << 16),
          __uint_as_float(bits.y & 0xffff0000u)};
}
__device__ __forceinline__ int load4(const int8_t* p) {
  return *reinterpret_cast<const int*>(p);
}

__device__ __forceinline__ float multiply4(float4 w, float4 a, float sum) {
  sum = __fmaf_rn(w.x, a.x, sum);
  sum = __fmaf_rn(w.y, a.y, sum);
  sum = __fmaf_rn(w.z, a.z, sum);
  return __fmaf_rn(w.w, a.w, sum);
}
__device__ __forceinline__ int multiply4(int w, int a, int sum) {
  return __dp4a(w, a, sum);
}

// sum[r * M + m] += w[w_at[m] ...] . a[a_at[r] ...], over K elements. Both rows end with zeros up to a
// multiple of 4.
template <int M, int ROWS, class Element>
__device__ __forceinline__ void dot(const Element* w, const int (&w_at)[M], const OperandOf<Element>* a,
                                    const int (&a_at)[ROWS], int begin, int K,
                                    SumOf<Element> (&sum)[M * ROWS]) {
#pragma unroll(M* ROWS < 16 ? 2 : 1)
  for (int k = begin; k < K; k += 128) {
    decltype(load4(w)) row[M];
#pragma unroll
    for (int m = 0; m < M; ++m) row[m] = load4(w + (w_at[m] + k));
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const auto operand = load4(a + (a_at[r] + k));
#pragma unroll
      for (int m = 0; m < M; ++m) sum[r * M + m] = multiply4(row[m], operand, sum[r * M + m]);
    }
  }
}

// Adds up N sums over the lanes; lane l returns number l / (32 / N). While there are several, each exchange
// halves them: half the lanes go on with one half.
template <int DISTANCE = 16, int N, class T>
__device__ __forceinline__ T warp_sums(const T (&sum)[N]) {
  constexpr int kHalf = N / 2;
  if constexpr (DISTANCE == 0) {
    return sum[0];
  } else if constexpr (N == 1) {
    const T both[1] = {sum[0] + __shfl_xor_sync(0xffffffffu, sum[0], DISTANCE)};
    return warp_sums<DISTANCE / 2>(both);
  } else {
    const bool upper = threadIdx.x & DISTANCE;
    T kept[kHalf];
#pragma unroll
    for (int i = 0; i < kHalf; ++i)
      kept[i] = (upper ? sum[i + kHalf] : sum[i]) +
                __shfl_xor_sync(0xffffffffu, upper ? sum[i] : sum[i + kHalf], DISTANCE);
    return warp_sums<DISTANCE / 2>(kept);
  }
}

// sums[r * count + m] for the weight rows m in [first, first + M) below `count` and the sequences r < rows.
// Source: what is multiplied, in kSegments pieces along k.
template <int M, int ROWS, class Source>
__device__ __forceinline__ void product_part(const Source& source, int first, int count, int rows,
                                             float* sums) {
  using Element = typename Source::Element;
  SumOf<Element> sum[M * ROWS] = {};
#pragma unroll 1
  for (int s = 0; s < Source::kSegments; ++s) {
    int w_at[M], a_at[ROWS];  // rows that do not exist repeat the last
#pragma unroll
    for (int m = 0; m < M; ++m) w_at[m] = min(m, count - 1 - first) * source.weight_pitch(s);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) a_at[r] = min(r, rows - 1) * source.operand_pitch();
    // The lanes go on as if the segments were one row.
    const int begin = (4 * static_cast<int>(threadIdx.x % 32) - source.offset(s)) & 127;
    dot<M, ROWS>(source.weights(s, first), w_at, source.operands(s), a_at, begin, source.depth(s), sum);
  }
  const SumOf<Element> total = warp_sums(sum);
  constexpr int kSharers = 32 / (M * ROWS);
  const int lane = threadIdx.x % 32, r = lane / kSharers / M, m = first + lane / kSharers % M;
  if (lane % kSharers == 0 && r < rows && m < count) sums[r * count + m] = source.scaled(total, m);
}

// Few kinds of tiles, as each is compiled into every kernel: three sequences are multiplied as four.
template <int M, class Source>
__device__ __forceinline__ void product_rows(const Source& source, int first, int count, int rows,
                                             float* sums) {
  if (rows == 1) {
    product_part<M, 1>(source, first, count, rows, sums);
  } else if (M > 1 && rows <= 4) {
    product_part<M, M>(source, first, count, rows, sums);
  } else {
    product_part<M, kTileRows>(source, first, count, rows, sums);
  }
}

// The block's product: `count` weight rows times `rows` (1 to kTileRows) sequences, the weight rows spread
// over its warps. The caller synchronises before it reads the sums.
template <class Source>
__device__ __forceinline__ void tile_product(const Source& source, int count, int rows, float* sums) {
  const int warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  if (count > 2 * warps) {
    for (int m = 4 * warp; m < count; m += 4 * warps) product_rows<4>(source, m, count, rows, sums);
  } else {
    for (int m = warp; m < count; m += warps) product_rows<1>(source, m, count, rows, sums);
  }
}

}  // namespace s2s::cuda

// The left operand of a product: rows of floats. Where the weights have fewer bits than 32 and the product
// wants bytes or tensor cores, they are rounded first, each row by one warp: to 16 bits, or to integers in
// units of their own (math/quantize.h).
#pragma once

#include "cuda/detail/layout.h"
#include "cuda/detail/reduce.h"
#include "math/half.h"
#include "math/quantize.h"

namespace s2s::cuda {

struct Activations {
  const float* data;  // element k of row m: data[m * row_stride + k * k_stride]
  int64_t row_stride, k_stride;
  int64_t rows;
  int K;
  float least_bound;  // int8: a row is quantised by its largest magnitude, at least this
  bool vectors;       // a quad of a row can be loaded at once

  __device__ const float* at(int64_t m, int64_t k) const { return data + m * row_stride + k * k_stride; }
  // Four neighbours of a row, zeros past its end.
  __device__ __forceinline__ float4 quad(int64_t m, int k) const {
    if (vectors) return load_quad(at(m, k), K - k, true);
    float x[kQuad];
#pragma unroll
    for (int i = 0; i < kQuad; ++i) x[i] = k + i < K ? *at(m, k + i) : 0.0f;
    return {x[0], x[1], x[2], x[3]};
  }
};

// The bound of a row, by a warp: its largest magnitude, at least the least; NaN where an element is NaN or
// infinite.
__device__ inline float row_bound(const Activations& a, int64_t row) {
  float largest = a.least_bound;
  bool finite = true;
  for (int k = kQuad * (static_cast<int>(threadIdx.x) % kWarp); k < a.K; k += kQuad * kWarp) {
    const float4 four = a.quad(row, k);
    each(
        [&](float x) {
          largest = fmaxf(largest, math::absolute(x));
          finite = finite && x * 0.0f == 0.0f;
        },
        four);
  }
  largest = warp_fold(largest, [](float x, float y) { return fmaxf(x, y); });
  return __all_sync(kAllLanes, finite) ? largest : NAN;
}

// Four activations as the weights' elements. bound: int8's.
__device__ __forceinline__ void round_quad(int8_t* to, float4 x, float bound) {
  const float inverse = math::inverse_of(bound);
  unsigned bytes = 0, shift = 0;
  each(
      [&](float one) {
        const int q = __float_as_int(math::quantized(one, inverse)) - math::kQuantizedZero;
        bytes |= (static_cast<unsigned>(q) & 0xffu) << shift;
        shift += 8;
      },
      x);
  *reinterpret_cast<unsigned*>(to) = bound > 0.0f ? bytes : 0u;  // a bound of NaN, too
}
__device__ __forceinline__ void round_quad(Half* to, float4 x, float) {
  *reinterpret_cast<ushort4*>(to) = {math::half_bits(x.x), math::half_bits(x.y), math::half_bits(x.z),
                                     math::half_bits(x.w)};
}
__device__ __forceinline__ void round_quad(BFloat* to, float4 x, float) {
  *reinterpret_cast<ushort4*>(to) = {math::bfloat_bits(x.x), math::bfloat_bits(x.y), math::bfloat_bits(x.z),
                                     math::bfloat_bits(x.w)};
}

constexpr int kRoundThreads = 128;

// rounded [rows, row_pitch<Element>(K)], zero past K; int8: units [rows], what one unit of each stands for.
template <class Element>
__global__ void __launch_bounds__(kRoundThreads) round_rows(Activations a, Element* rounded, float* units) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, pitch = static_cast<int>(row_pitch<Element>(a.K));
  const int64_t row = int64_t{blockIdx.x} * (kRoundThreads / kWarp) + threadIdx.x / kWarp;
  if (row >= a.rows) return;
  float bound = 0.0f;
  if constexpr (sizeof(Element) == 1) {
    bound = row_bound(a, row);
    if (lane == 0) units[row] = bound / 127.0f;
  }
  for (int k = kQuad * lane; k < pitch; k += kQuad * kWarp)
    round_quad(rounded + row * pitch + k, a.quad(row, k), bound);
}

// Activations as the weights' elements. float32: as they are.
template <class Element>
struct RoundedRows {
  Scratch memory;
  const Element* rows = nullptr;
  const float* units = nullptr;  // int8

  explicit RoundedRows(const Activations& a) {
    const size_t bytes = static_cast<size_t>(a.rows * row_pitch<Element>(a.K)) * sizeof(Element);
    memory = Scratch(bytes + (sizeof(Element) == 1 ? static_cast<size_t>(a.rows) * sizeof(float) : 0));
    float* after = reinterpret_cast<float*>(memory.as<char>() + bytes);
    launch(round_rows<Element>,
           {.grid = blocks(ceil_div(a.rows, kRoundThreads / kWarp)), .block = kRoundThreads}, a,
           memory.as<Element>(), after);
    rows = memory.as<Element>(), units = after;
  }
};

}  // namespace s2s::cuda

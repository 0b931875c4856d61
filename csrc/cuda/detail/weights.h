// Reading packed weights: sixteen bytes a load, and what they stand for.
#pragma once

#include "cuda/detail/layout.h"
#include "cuda/detail/simt.h"
#include "math/scalar.h"

namespace s2s::cuda {

template <class Element>
struct Weights {
  const Element* rows;  // one per column of b, `pitch` elements apart
  const float* scales;  // int8
  int64_t N;
  int pitch;
};

template <class Element>
inline Weights<Element> weights_of(const void* packed, int64_t K, int64_t N) {
  return {packed_rows<Element>(packed), sizeof(Element) == 1 ? packed_scales(packed, K, N) : nullptr, N,
          static_cast<int>(row_pitch<Element>(K))};
}

template <class Element>
__device__ __forceinline__ uint4 load_weights(const Element* p) {
  return __ldg(reinterpret_cast<const uint4*>(p));
}

// An int8 product as the CPU rounds it: a scale at a time, nothing fused.
__device__ __forceinline__ float scaled(int sum, float scale, float unit) {
  return math::rounded_product(math::rounded_product(static_cast<float>(sum), scale), unit);
}

// What a lane of few_rows.h has of a slice: four steps of eight neighbours in k as floats, or of sixteen
// bytes.
template <class Element>
struct LaneWeights {
  static constexpr int kStep = 32;
  float w[4][8];

  __device__ __forceinline__ explicit LaneWeights(const uint4 (&loads)[2 * sizeof(Element)]);

  // Their product with a row, in the order of k.
  __device__ __forceinline__ float multiply(const float* a) const {
    float sum = 0.0f;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      const float4 x = *reinterpret_cast<const float4*>(a + step * kStep);
      const float4 y = *reinterpret_cast<const float4*>(a + step * kStep + 4);
      sum = math::fma(x.x, w[step][0], sum);
      sum = math::fma(x.y, w[step][1], sum);
      sum = math::fma(x.z, w[step][2], sum);
      sum = math::fma(x.w, w[step][3], sum);
      sum = math::fma(y.x, w[step][4], sum);
      sum = math::fma(y.y, w[step][5], sum);
      sum = math::fma(y.z, w[step][6], sum);
      sum = math::fma(y.w, w[step][7], sum);
    }
    return sum;
  }
};

template <>
__device__ __forceinline__ LaneWeights<float>::LaneWeights(const uint4 (&loads)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float* four = w[i / 2] + i % 2 * 4;
    four[0] = __uint_as_float(loads[i].x), four[1] = __uint_as_float(loads[i].y);
    four[2] = __uint_as_float(loads[i].z), four[3] = __uint_as_float(loads[i].w);
  }
}

template <>
__device__ __forceinline__ LaneWeights<Half>::LaneWeights(const uint4 (&loads)[4]) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const unsigned words[4] = {loads[step].x, loads[step].y, loads[step].z, loads[step].w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[step][2 * i] = __half2float(__ushort_as_half(static_cast<unsigned short>(words[i])));
      w[step][2 * i + 1] = __half2float(__ushort_as_half(static_cast<unsigned short>(words[i] >> 16)));
    }
  }
}

template <>
__device__ __forceinline__ LaneWeights<BFloat>::LaneWeights(const uint4 (&loads)[4]) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const unsigned words[4] = {loads[step].x, loads[step].y, loads[step].z, loads[step].w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[step][2 * i] = __uint_as_float(words[i] << 16);
      w[step][2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
  }
}

__device__ __forceinline__ int multiply_bytes(int sum, uint4 w, uint4 a) {
  sum = __dp4a(static_cast<int>(w.x), static_cast<int>(a.x), sum);
  sum = __dp4a(static_cast<int>(w.y), static_cast<int>(a.y), sum);
  sum = __dp4a(static_cast<int>(w.z), static_cast<int>(a.z), sum);
  return __dp4a(static_cast<int>(w.w), static_cast<int>(a.w), sum);
}

template <>
struct LaneWeights<int8_t> {
  static constexpr int kStep = 64;
  const uint4 (&w)[4];

  __device__ __forceinline__ explicit LaneWeights(const uint4 (&loads)[4]) : w(loads) {}

  __device__ __forceinline__ int multiply(const int8_t* a) const {
    int sum = 0;
#pragma unroll
    for (int step = 0; step < 4; ++step)
      sum = multiply_bytes(sum, w[step], *reinterpret_cast<const uint4*>(a + step * kStep));
    return sum;
  }
};

}  // namespace s2s::cuda

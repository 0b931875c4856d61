// Activations as integers: q = round(127 x / bound), |x| <= bound.
#pragma once

#include "cpu/detail/weights.h"
#include "math/quantize.h"

namespace s2s::S2S_ISA {
namespace {

// Elements from one quantised row to the next.
S2S_INLINE int64_t quantized_stride(int64_t K) {
  return (K + 63) / 64 * 64;
}

// One vector of q, all lanes.
S2S_INLINE void store_quantized(Quantized* q, Vec x, Vec inverse) {
  typedef Quantized Narrow __attribute__((vector_size(kLanes * sizeof(Quantized))));
  const NativeInts rounded = (NativeInts)math::quantized(x, inverse).v - math::kQuantizedZero + kOffset;
  const Narrow narrow = __builtin_convertvector(rounded, Narrow);
  std::memcpy(q, &narrow, sizeof(narrow));
}

// The bound of a row: its largest magnitude, at least `least`; NaN where an element is NaN or infinite.
S2S_INLINE float bound_of(const float* x, int64_t K, float least) {
  Vec largest = splat(least), zero = splat(0.0f);
  for (int64_t k = 0; k < K; k += kLanes) {
    const Vec value = load(x + k, lanes_left(K, k));
    largest = maximum(largest, absolute(value));
    zero = fma(value, splat(0.0f), zero);
  }
  const float finite = sum_lanes(zero);
  return finite == 0.0f ? max_lanes(largest) : finite;
}

// Quantises a row to quantized_stride(K) elements, zero past K, and returns what one unit of q stands for.
S2S_INLINE float quantize_within(const float* x, int64_t K, float bound, Quantized* q) {
  const Vec inverse = splat(math::inverse_of(bound));
  const int64_t stride = quantized_stride(K);
  for (int64_t k = 0; k < stride; k += kLanes) {
    const Vec value = k < K && bound > 0.0f ? load(x + k, lanes_left(K, k)) : splat(0.0f);
    store_quantized(q + k, value, inverse);
  }
  return bound / 127.0f;
}
S2S_INLINE float quantize_row(const float* x, int64_t K, float least, Quantized* q) {
  return quantize_within(x, K, bound_of(x, K, least), q);
}

}  // namespace
}  // namespace s2s::S2S_ISA

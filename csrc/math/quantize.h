// Numbers as integers of 8 bits: w = scale q, x = bound / 127 q, |q| <= 127. The same integers everywhere.
#pragma once

#include "math/scalar.h"

namespace s2s::math {

// Below it a scale would lose bits: such a column of weights is zero.
constexpr float kSmallestWeight = 0x1p-100f;

// The scale of a column of weights of which `largest` is the largest magnitude. Its fraction is rounded up to
// 16 bits so that 127 scale is exact and packing what was once quantised changes nothing.
// (python/seq2seq_fast/quantization.py stores by the same rule.)
S2S_INLINE float weight_scale(float largest) {
  if (largest < kSmallestWeight) return 0.0f;
  const float scale = largest / 127.0f;
  uint32_t bits;
  std::memcpy(&bits, &scale, 4);
  bits = (bits + 0xffu) & ~0xffu;
  float rounded;
  std::memcpy(&rounded, &bits, 4);
  return rounded;
}

// One weight, to nearest, ties to even; 0 where the scale is 0 or NaN.
S2S_INLINE int quantized_weight(float w, float scale) {
  return scale > 0.0f ? static_cast<int>(__builtin_nearbyintf(w / scale)) : 0;
}

// An activation is x inverse_of(bound) of its units, each bound / 127; nothing but zeros where no bound is.
S2S_INLINE float inverse_of(float bound) {
  return bound > 0.0f ? 127.0f / bound : 0.0f;
}

// x inverse to nearest, ties to even: the bits of the result less kQuantizedZero are the integer. Adding
// 1.5 * 2^23 rounds, and leaves it in the low bits.
constexpr int32_t kQuantizedZero = 0x4b400000;
template <class T>
S2S_INLINE T quantized(T x, T inverse) {
  return rounded_product(x, inverse) + constant(12582912.0f, x);
}

}  // namespace s2s::math

// The operations that the formulas of math/ are written in, for float. Vectors bring their own
// (cpu/vec.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "math/inline.h"

namespace s2s::math {

S2S_INLINE float constant(float x, float) {
  return x;
}
S2S_INLINE float absolute(float x) {
  return __builtin_fabsf(x);
}
S2S_INLINE float select_less(float a, float b, float x, float y) {
  return a < b ? x : y;
}
// Of a NaN, the second and the first.
S2S_INLINE float minimum(float a, float b) {
  return a < b ? a : b;
}
S2S_INLINE float maximum(float a, float b) {
  return a < b ? b : a;
}
S2S_INLINE float square_root(float x) {
  return __builtin_sqrtf(x);
}
S2S_INLINE float log(float x) {
  return __builtin_logf(x);
}
// a * b + c: one rounding where the compiler has the instruction, two elsewhere (as cpu/vec.h does).
S2S_INLINE float fma(float a, float b, float c) {
#if defined(__FMA__) || defined(__CUDA_ARCH__) || defined(__ARM_FEATURE_FMA)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
// a * b, never fused with an addition that follows.
S2S_INLINE float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
S2S_INLINE float power_of_two(float magic) {
  uint32_t bits;
  std::memcpy(&bits, &magic, 4);
  bits = (bits << 23) + 0x3f800000u;
  std::memcpy(&magic, &bits, 4);
  return magic;
}

}  // namespace s2s::math

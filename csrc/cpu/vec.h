// Vec: the float vector of the instruction set a kernel file is compiled for, and the few operations that
// kernels need. Everything here has internal linkage: no code of a strong instruction set may be linked into
// a weak one's.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/inline.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace s2s::S2S_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4;
constexpr int kRegisters = 32;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#endif

typedef float NativeFloats __attribute__((vector_size(kLanes * 4)));
typedef int32_t NativeInts __attribute__((vector_size(kLanes * 4)));

struct Vec {
  NativeFloats v;
};

S2S_INLINE Vec splat(float x) {
  return {x - NativeFloats{}};  // x - 0 keeps every x, -0 and NaN included
}
S2S_INLINE Vec constant(float x, Vec) {
  return splat(x);
}
S2S_INLINE Vec operator+(Vec a, Vec b) {
  return {a.v + b.v};
}
S2S_INLINE Vec operator-(Vec a, Vec b) {
  return {a.v - b.v};
}
S2S_INLINE Vec operator*(Vec a, Vec b) {
  return {a.v * b.v};
}
S2S_INLINE Vec operator/(Vec a, Vec b) {
  return {a.v / b.v};
}
S2S_INLINE Vec operator-(Vec a) {
  return {-a.v};
}

// a * b + c, fused where the processor can.
S2S_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
#elif defined(__AVX2__)
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
#elif defined(__aarch64__)
  return {(NativeFloats)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)};
#else
  return {a.v * b.v + c.v};
#endif
}

// a < b ? x : y, lane by lane; a NaN compares false.
S2S_INLINE Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return {a.v < b.v ? x.v : y.v};
}
S2S_INLINE Vec maximum(Vec a, Vec b) {
  return select_less(a, b, b, a);
}
S2S_INLINE Vec absolute(Vec a) {
  return {(NativeFloats)((NativeInts)a.v & 0x7fffffff)};
}
S2S_INLINE Vec copy_sign(Vec magnitude, Vec sign) {
  return {(NativeFloats)((NativeInts)magnitude.v | ((NativeInts)sign.v & INT32_MIN))};
}
S2S_INLINE Vec square_root(Vec a) {
#if defined(__AVX512F__)
  return {_mm512_maskz_sqrt_ps(0xffff, a.v)};
#elif defined(__AVX2__)
  return {_mm256_sqrt_ps(a.v)};
#else
  Vec r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = __builtin_sqrtf(a.v[i]);
  return r;
#endif
}
// 2^n for the integer n that sits in the low bits of magic = n + 1.5 * 2^23 (see math/exp.h); -127 < n < 128.
S2S_INLINE Vec power_of_two(Vec magic) {
  return {(NativeFloats)(((NativeInts)magic.v << 23) + 0x3f800000)};
}

S2S_INLINE Vec load(const float* p) {
  Vec r;
  std::memcpy(&r.v, p, sizeof(r.v));
  return r;
}
S2S_INLINE void store(float* p, Vec a) {
  std::memcpy(p, &a.v, sizeof(a.v));
}

// The first n lanes (0 < n <= kLanes); the others are `rest`, and their memory is not touched.
S2S_INLINE Vec load(const float* p, int n, float rest = 0.0f) {
  if (n >= kLanes) return load(p);
#if defined(__AVX512F__)
  return {_mm512_mask_loadu_ps(splat(rest).v, static_cast<__mmask16>((1u << n) - 1u), p)};
#else
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < n ? p[i] : rest;
  return load(lanes);
#endif
}
S2S_INLINE void store(float* p, Vec a, int n) {
  if (n >= kLanes) return store(p, a);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), a.v);
#else
  float lanes[kLanes];
  store(lanes, a);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// Whether a > b in any lane.
S2S_INLINE bool any_greater(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)) != 0;
#else
  const NativeInts greater = a.v > b.v;
  for (int i = 0; i < kLanes; ++i) {
    if (greater[i]) return true;
  }
  return false;
#endif
}

// Sums and maxima over the lanes, in an order that depends on nothing but the width.
S2S_INLINE float sum_lanes(Vec a) {
  float lanes[kLanes];
  store(lanes, a);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
S2S_INLINE float max_lanes(Vec a) {
  float lanes[kLanes];
  store(lanes, a);
  float m = lanes[0];
  for (int i = 1; i < kLanes; ++i) m = lanes[i] > m ? lanes[i] : m;
  return m;
}

S2S_INLINE int lanes_left(int64_t count, int64_t done) {
  return count - done < kLanes ? static_cast<int>(count - done) : kLanes;
}

}  // namespace
}  // namespace s2s::S2S_ISA

// Vec: the float vector of the instruction set a kernel file is compiled for, and the few operations that
// kernels need. Everything here has internal linkage: no code of a strong instruction set may be linked into
// a weak one's.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

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
S2S_INLINE Vec rounded_product(Vec a, Vec b) {
  return a * b;
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
// a < b ? a : b, and a < b ? b : a: of a NaN, the second and the first.
S2S_INLINE Vec minimum(Vec a, Vec b) {
#if defined(__AVX512F__)
  return {_mm512_maskz_min_ps(0xffff, a.v, b.v)};
#elif defined(__AVX2__)
  return {_mm256_min_ps(a.v, b.v)};
#elif defined(__x86_64__)
  return {_mm_min_ps(a.v, b.v)};
#else
  return select_less(a, b, a, b);
#endif
}
S2S_INLINE Vec maximum(Vec a, Vec b) {
#if defined(__AVX512F__)
  return {_mm512_maskz_max_ps(0xffff, b.v, a.v)};
#elif defined(__AVX2__)
  return {_mm256_max_ps(b.v, a.v)};
#elif defined(__x86_64__)
  return {_mm_max_ps(b.v, a.v)};
#else
  return select_less(a, b, b, a);
#endif
}
S2S_INLINE Vec absolute(Vec a) {
  return {(NativeFloats)((NativeInts)a.v & 0x7fffffff)};
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

// Bit i: whether a > b in lane i.
S2S_INLINE uint32_t lanes_greater(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(a.v, b.v)));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(a.v[i] > b.v[i]) << i;
  return bits;
#endif
}

// f over all lanes: lane i with lane i + half, and so on, so that the order depends on nothing but the width.
template <class T, class F, int... I>
S2S_INLINE auto fold_half(T v, const F& f, std::integer_sequence<int, I...>) {
  return f(__builtin_shufflevector(v, v, I...), __builtin_shufflevector(v, v, (I + sizeof...(I))...));
}
template <class F>
S2S_INLINE float fold_lanes(Vec a, const F& f) {
  const auto half = fold_half(a.v, f, std::make_integer_sequence<int, kLanes / 2>());
  if constexpr (kLanes == 4) {
    return f(half[0], half[1]);
  } else {
    const auto quarter = fold_half(half, f, std::make_integer_sequence<int, kLanes / 4>());
    if constexpr (kLanes == 8) {
      return f(quarter[0], quarter[1]);
    } else {
      const auto eighth = fold_half(quarter, f, std::make_integer_sequence<int, kLanes / 8>());
      return f(eighth[0], eighth[1]);
    }
  }
}
S2S_INLINE float sum_lanes(Vec a) {
  return fold_lanes(a, [](auto x, auto y) { return x + y; });
}
S2S_INLINE float max_lanes(Vec a) {
  return fold_lanes(a, [](auto x, auto y) { return y > x ? y : x; });
}

S2S_INLINE int lanes_left(int64_t count, int64_t done) {
  return count - done < kLanes ? static_cast<int>(count - done) : kLanes;
}

}  // namespace
}  // namespace s2s::S2S_ISA

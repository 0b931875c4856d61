// The elements of packed weights and how a vector of them is read. int8 weights are multiplied in groups of
// neighbours in k with activations of as many bytes as the instruction set wants: exact integers on all.
#pragma once

#include <type_traits>

#include "cpu/vec.h"
#include "ops/compute_type.h"

namespace s2s::S2S_ISA {
namespace {

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

typedef uint16_t NativeShorts __attribute__((vector_size(kLanes * 2)));
typedef uint32_t NativeWords __attribute__((vector_size(kLanes * 4)));

S2S_INLINE Vec load(const BFloat* p) {
  NativeShorts bits;
  std::memcpy(&bits, p, sizeof(bits));
  return {(NativeFloats)(__builtin_convertvector(bits, NativeWords) << 16)};
}

// The first n lanes; the others are zero, and their memory is not touched.
S2S_INLINE Vec load(const BFloat* p, int n) {
  if (n >= kLanes) return load(p);
  BFloat lanes[kLanes] = {};
  std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(BFloat));
  return load(lanes);
}

S2S_INLINE Vec load(const Half* p) {
#if defined(__AVX512F__)
  return {_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
#elif defined(__F16C__)
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
#else
  NativeShorts bits;
  std::memcpy(&bits, p, sizeof(bits));
  const NativeWords word = __builtin_convertvector(bits, NativeWords);
  // Exponent and fraction as those of a float 2^112 times too small: right for denormal numbers too.
  const NativeFloats finite = (NativeFloats)((word & 0x7fffu) << 13) * 0x1p112f;
  const NativeWords magnitude =
      (word & 0x7fffu) < 0x7c00u ? (NativeWords)finite : (word & 0x7fffu) << 13 | 0x7f800000u;
  return {(NativeFloats)(magnitude | (word & 0x8000u) << 16)};
#endif
}

struct IntVec {
  NativeInts v;
};

// kGroup: weights of one column that are multiplied at once. Activations lie in [-127, 127]; kOffset is added
// to make them unsigned where the instruction wants that, and the packed compensation takes it off again.
#if defined(__AVX512VNNI__)
typedef uint8_t Quantized;
constexpr int kGroup = 4, kOffset = 128;
typedef __m512i GroupVec;
#else
typedef int16_t Quantized;
constexpr int kGroup = 2, kOffset = 0;
#if defined(__AVX512BW__)
typedef __m512i GroupVec;
#elif defined(__AVX2__)
typedef __m256i GroupVec;
#elif defined(__SSE4_1__)
typedef __m128i GroupVec;
#else
typedef int16_t GroupVec __attribute__((vector_size(kLanes * 4)));
#endif
#endif

// kLanes columns of kGroup weights each.
S2S_INLINE GroupVec load_group(const int8_t* p) {
#if defined(__AVX512VNNI__)
  return _mm512_loadu_si512(p);
#elif defined(__AVX512BW__)
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__SSE4_1__)
  return _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  GroupVec group;
  for (int i = 0; i < 2 * kLanes; ++i) group[i] = p[i];
  return group;
#endif
}

// sum + the products of one group: a[0 .. kGroup) with every column of w.
S2S_INLINE IntVec multiply_group(IntVec sum, const Quantized* a, GroupVec w) {
  int32_t group;
  static_assert(sizeof(group) == kGroup * sizeof(Quantized));
  std::memcpy(&group, a, sizeof(group));
#if defined(__AVX512VNNI__)
  return {(NativeInts)_mm512_dpbusd_epi32((__m512i)sum.v, _mm512_set1_epi32(group), w)};
#elif defined(__AVX512BW__)
  return {sum.v + (NativeInts)_mm512_madd_epi16(_mm512_set1_epi32(group), w)};
#elif defined(__AVX2__)
  return {sum.v + (NativeInts)_mm256_madd_epi16(_mm256_set1_epi32(group), w)};
#elif defined(__SSE4_1__)
  return {sum.v + (NativeInts)_mm_madd_epi16(_mm_set1_epi32(group), w)};
#else
  for (int i = 0; i < kLanes; ++i) sum.v[i] += a[0] * w[2 * i] + a[1] * w[2 * i + 1];
  return sum;
#endif
}

S2S_INLINE IntVec load_ints(const int32_t* p) {
  IntVec r;
  std::memcpy(&r.v, p, sizeof(r.v));
  return r;
}
S2S_INLINE Vec to_float(IntVec a) {
  return {__builtin_convertvector(a.v, NativeFloats)};
}

// Two bfloat16 numbers that are neighbours in k, for ComputeType::bfloat16_pairs.
struct BPair {
  uint16_t bits[2];
};
// The element type of the pointers that with_element hands out.
template <class Pointer>
using element_of = std::remove_const_t<std::remove_pointer_t<Pointer>>;

template <class Element>
constexpr bool kIsPair = std::is_same_v<Element, BPair>;
#if defined(__AVX512BF16__)
constexpr bool kPairs = true;

struct PairVec {
  __m512bh v;
};
S2S_INLINE PairVec load(const BPair* p) {
  return {(__m512bh)_mm512_loadu_si512(p)};
}
S2S_INLINE PairVec splat(BPair x) {
  int32_t pair;
  std::memcpy(&pair, &x, sizeof(pair));
  return {(__m512bh)_mm512_set1_epi32(pair)};
}
// c + the products of both neighbours.
S2S_INLINE Vec fma(PairVec a, PairVec b, Vec c) {
  return {_mm512_dpbf16_ps(c.v, b.v, a.v)};
}
#else
constexpr bool kPairs = false;
#endif

// Calls f with a null pointer of the type of element that inference multiplies by.
template <class F>
S2S_INLINE void with_element(ComputeType type, const F& f) {
  switch (type) {
    case ComputeType::float32:
      return f(static_cast<const float*>(nullptr));
    case ComputeType::float16:
      return f(static_cast<const Half*>(nullptr));
    case ComputeType::bfloat16:
      return f(static_cast<const BFloat*>(nullptr));
    case ComputeType::int8:
      return f(static_cast<const int8_t*>(nullptr));
    case ComputeType::bfloat16_pairs:
      return;  // training's alone
  }
}
// The same of training.
template <class F>
S2S_INLINE void with_training_element(ComputeType type, const F& f) {
  if constexpr (kPairs) {
    if (type == ComputeType::bfloat16_pairs) return f(static_cast<const BPair*>(nullptr));
  }
  f(static_cast<const float*>(nullptr));
}
// The same of either.
template <class F>
S2S_INLINE void with_any_element(ComputeType type, const F& f) {
  type == ComputeType::bfloat16_pairs ? with_training_element(type, f) : with_element(type, f);
}

}  // namespace
}  // namespace s2s::S2S_ISA

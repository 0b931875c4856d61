// Philox on vectors of 32-bit words: kLanes counters at a time.
#pragma once

#include <utility>

#include "cpu/vec.h"
#include "math/philox.h"

namespace s2s::S2S_ISA {
namespace {

typedef uint32_t NativeWords __attribute__((vector_size(kLanes * 4)));
typedef uint64_t NativeLongs __attribute__((vector_size(kLanes * 4)));

struct WordVec {
  NativeWords v;
};
S2S_INLINE WordVec operator^(WordVec a, WordVec b) {
  return {a.v ^ b.v};
}
S2S_INLINE WordVec operator^(WordVec a, uint32_t b) {
  return {a.v ^ b};
}
S2S_INLINE WordVec& operator+=(WordVec& a, uint32_t b) {
  a.v += b;
  return a;
}

// The products of the even lanes, 64 bits wide.
S2S_INLINE NativeLongs multiply_even(NativeLongs a, NativeLongs b) {
#if defined(__AVX512F__)
  return (NativeLongs)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (NativeLongs)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (NativeLongs)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

S2S_INLINE void multiply_wide(uint32_t m, WordVec x, WordVec& high, WordVec& low) {
  const NativeLongs factor = (NativeLongs)(m - NativeWords{});
  const NativeLongs even = multiply_even((NativeLongs)x.v, factor);
  const NativeLongs odd = multiply_even((NativeLongs)x.v >> 32, factor);
  const NativeLongs upper = 0xffffffff00000000u - NativeLongs{};
  high.v = (NativeWords)((even >> 32) | (odd & upper));
  low.v = (NativeWords)((even & ~upper) | (odd << 32));
}

// a0 b0 a1 b1 ... from the lower (HIGH = 0) or upper (1) halves of a and b.
template <int HIGH, int... I>
S2S_INLINE NativeWords zip(NativeWords a, NativeWords b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (I / 2 + HIGH * kLanes / 2 + (I % 2) * kLanes)...);
}
template <int HIGH>
S2S_INLINE NativeWords zip(NativeWords a, NativeWords b) {
  return zip<HIGH>(a, b, std::make_integer_sequence<int, kLanes>());
}

// The words of kLanes consecutive counters in their order: counter 0's four, counter 1's four, ...
S2S_INLINE void in_order(const math::Words<WordVec>& words, NativeWords (&out)[4]) {
  const NativeWords low02 = zip<0>(words.word[0].v, words.word[2].v),
                    low13 = zip<0>(words.word[1].v, words.word[3].v);
  const NativeWords high02 = zip<1>(words.word[0].v, words.word[2].v),
                    high13 = zip<1>(words.word[1].v, words.word[3].v);
  out[0] = zip<0>(low02, low13);
  out[1] = zip<1>(low02, low13);
  out[2] = zip<0>(high02, high13);
  out[3] = zip<1>(high02, high13);
}

// [0, 1) with 24 bits.
S2S_INLINE Vec uniform(NativeWords words) {
  return {__builtin_convertvector((NativeInts)(words >> 8), NativeFloats) * 0x1p-24f};
}

// Calls f(first unit, lanes, random numbers) for each vector of `width` units. A call of philox serves four
// units, `first` being the counter of the first four; kLanes calls are made at once.
template <class F>
S2S_INLINE void for_uniforms(const math::Philox& first, uint32_t key0, uint32_t key1, int64_t width,
                             const F& f) {
  NativeWords blocks;
  for (uint32_t i = 0; i < kLanes; ++i) blocks[i] = i;
  for (int64_t u = 0; u < width; u += 4 * kLanes) {
    math::Words<WordVec> counter;
    for (int w = 0; w < 4; ++w) counter.word[w].v = first.word[w] - NativeWords{};
    counter.word[0].v += blocks + static_cast<uint32_t>(u / 4);
    NativeWords words[4];
    in_order(math::philox(counter, key0, key1), words);
    for (int w = 0; w < 4; ++w) {
      const int64_t at = u + w * kLanes;
      if (at >= width) break;
      f(at, lanes_left(width, at), uniform(words[w]));
    }
  }
}

}  // namespace
}  // namespace s2s::S2S_ISA

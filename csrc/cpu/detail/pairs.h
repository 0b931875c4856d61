// Floats as pairs of bfloat16, rounded to nearest (ties to even, denormal numbers to zero), neighbours in k.
#pragma once

#include "core/threads.h"
#include "cpu/detail/weights.h"

namespace s2s::S2S_ISA {
namespace {

// Pairs from one rounded row to the next.
S2S_INLINE int64_t rounded_stride(int64_t K) {
  return (K + 31) / 32 * 16;
}

#if defined(__AVX512BF16__)
// 16 pairs, as the bits of floats: numbers k to k + 31 of a row of K, zero past its end.
S2S_INLINE Vec rounded(const float* row, int64_t k, int64_t K) {
  const int64_t next = k + kLanes;
  const Vec low = load(row + k, lanes_left(K, k));
  const Vec high = next < K ? load(row + next, lanes_left(K, next)) : splat(0.0f);
  return {(NativeFloats)_mm512_cvtne2ps_pbh(high.v, low.v)};
}

// Rounds rows of K floats to rounded_stride(K) pairs each, zero past K.
S2S_INLINE void round_rows(const float* x, int64_t stride, Range rows, int64_t K, BPair* out,
                           int64_t out_stride) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float* from = x + r * stride;
    BPair* to = out + r * out_stride;
    for (int64_t k = 0; k < K; k += 2 * kLanes) {
      const Vec pairs = rounded(from, k, K);
      std::memcpy(to + k / 2, &pairs.v, sizeof(pairs.v));
    }
  }
}

S2S_INLINE NativeShorts rounded(Vec x) {
  return (NativeShorts)_mm512_cvtneps_pbh(x.v);
}

// A pair of each lane: rows k and k + 1 of a matrix, lane by lane. The first `lanes` are stored.
S2S_INLINE void store_pairs(BPair* to, NativeShorts even, NativeShorts odd, int lanes) {
  const auto word = [](NativeShorts x) { return __builtin_convertvector(x, NativeWords); };
  store(reinterpret_cast<float*>(to), {(NativeFloats)(word(even) | word(odd) << 16)}, lanes);
}
#endif

}  // namespace
}  // namespace s2s::S2S_ISA

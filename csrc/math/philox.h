// Philox 4x32-10 (Salmon et al. 2011), the counter-based random numbers of the whole project: the same on
// host and device.
#pragma once

#include <cstdint>

#include "math/scalar.h"

namespace s2s::math {

// m times x, exactly: the high and the low 32 bits. Vectors bring their own (cpu/detail/random.h).
S2S_INLINE void multiply_wide(uint32_t m, uint32_t x, uint32_t& high, uint32_t& low) {
  const uint64_t product = uint64_t{m} * x;
  high = static_cast<uint32_t>(product >> 32);
  low = static_cast<uint32_t>(product);
}

// One counter, or the random words it gives; T is uint32_t or a vector of them.
template <class T>
struct Words {
  T word[4];
};
using Philox = Words<uint32_t>;

// Key is uint32_t, or T.
template <class T, class Key>
S2S_INLINE Words<T> philox(Words<T> counter, Key key0, Key key1) {
  for (int round = 0; round < 10; ++round) {
    T high0, low0, high2, low2;
    multiply_wide(0xD2511F53u, counter.word[0], high0, low0);
    multiply_wide(0xCD9E8D57u, counter.word[2], high2, low2);
    counter = {{high2 ^ counter.word[1] ^ key0, low2, high0 ^ counter.word[3] ^ key1, low0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// The counter of units 4 b .. 4 b + 3 of one dropout mask, and its key.
S2S_INLINE Philox dropout_counter(int64_t block, int32_t time, int64_t example, int32_t op) {
  return {{static_cast<uint32_t>(block), static_cast<uint32_t>(time), static_cast<uint32_t>(example),
           static_cast<uint32_t>(op) | static_cast<uint32_t>(static_cast<uint64_t>(example) >> 32) << 8}};
}
// [0, 1) with 24 bits.
S2S_INLINE float uniform(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}
// x scaled by keep = 1 / (1 - p), or 0 where the random number u is below p.
template <class T>
S2S_INLINE T dropout(T u, T p, T x, T keep) {
  return select_less(u, p, constant(0.0f, x), x * keep);
}
S2S_INLINE uint32_t dropout_key0(uint64_t seed) {
  return static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(seed >> 32);
}

}  // namespace s2s::math

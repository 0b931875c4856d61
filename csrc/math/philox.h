// Philox 4x32-10 (Salmon et al. 2011), the counter-based random numbers of the whole project: the same on host and device.
#pragma once

#include <cstdint>

#include "math/inline.h"

namespace s2s::math {

struct Philox {
  uint32_t word[4];
};

S2S_INLINE Philox philox(Philox counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// [0, 1) with 24 bits.
S2S_INLINE float uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// The counter of units 4 b .. 4 b + 3 of one dropout mask, and its key.
S2S_INLINE Philox dropout_counter(int64_t block, int32_t time, int64_t example, int32_t op) {
  return {{static_cast<uint32_t>(block), static_cast<uint32_t>(time), static_cast<uint32_t>(example),
           static_cast<uint32_t>(op) | static_cast<uint32_t>(static_cast<uint64_t>(example) >> 32) << 8}};
}
S2S_INLINE uint32_t dropout_key0(uint64_t seed) { return static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(seed >> 32); }

}  // namespace s2s::math

// Best: the k largest elements of a row seen so far, descending, of equals the one seen first.
#pragma once

#include "cpu/vec.h"

namespace s2s::S2S_ISA {
namespace {

struct Best {
  float* values;     // [k]
  int32_t* indices;  // [k]
  int64_t k;
  int64_t size;
};

S2S_INLINE void insert(Best& best, float value, int32_t index) {
  if (best.size == best.k && !(value > best.values[best.k - 1])) return;
  int64_t at = best.size < best.k ? best.size++ : best.k - 1;
  for (; at > 0 && value > best.values[at - 1]; --at) {
    best.values[at] = best.values[at - 1];
    best.indices[at] = best.indices[at - 1];
  }
  best.values[at] = value;
  best.indices[at] = index;
}

// Elements x [width], whose indices begin at `first`. A vector enters only where one of its lanes beats the
// last of the best.
S2S_INLINE void insert_row(Best& best, const float* x, int64_t width, int64_t first) {
  int64_t i = 0;
  for (; i < width && best.size < best.k; ++i) insert(best, x[i], static_cast<int32_t>(first + i));
  for (; i < width; i += kLanes) {
    const Vec lanes = load(x + i, lanes_left(width, i), -__builtin_inff());
    uint32_t greater = lanes_greater(lanes, splat(best.values[best.k - 1]));
    for (; greater; greater &= greater - 1) {
      const int64_t at = i + __builtin_ctz(greater);
      insert(best, x[at], static_cast<int32_t>(first + at));
    }
  }
}

}  // namespace
}  // namespace s2s::S2S_ISA

// Zoneout of one unit (Krueger et al. 2017): it keeps its previous value where the random number u is below
// p.
#pragma once

#include "math/philox.h"
#include "math/scalar.h"

namespace s2s::math {

template <class T>
S2S_INLINE T zoneout(T u, T p, T before, T x) {
  return select_less(u, p, before, x);
}
// What inference computes instead.
template <class T>
S2S_INLINE T expected_zoneout(T p, T before, T x) {
  return fma(p, before - x, x);
}
// A layer's masks share their op: those of its directions, of h and of c.
S2S_INLINE Philox zoneout_counter(int64_t block, int32_t time, int64_t example, int32_t op, int32_t stream) {
  return dropout_counter(block + (int64_t{stream} << 28), time, example, op);
}

}  // namespace s2s::math

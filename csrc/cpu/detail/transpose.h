// A square of numbers, transposed in registers.
#pragma once

#include "cpu/vec.h"

namespace s2s::S2S_ISA {
namespace {

// Squares of 2 BLOCK lanes change their upper right and lower left quarters.
template <int BLOCK, int... L>
S2S_INLINE void exchange_quarters(Vec& upper, Vec& lower, std::integer_sequence<int, L...>) {
  const NativeFloats first = upper.v, second = lower.v;
  upper.v = __builtin_shufflevector(first, second, (L & BLOCK ? kLanes + L - BLOCK : L)...);
  lower.v = __builtin_shufflevector(first, second, (L & BLOCK ? kLanes + L : L + BLOCK)...);
}

// Lane j of row i becomes lane i of row j.
template <int BLOCK = kLanes / 2>
S2S_INLINE void transpose(Vec (&rows)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    if ((i & BLOCK) == 0)
      exchange_quarters<BLOCK>(rows[i], rows[i + BLOCK], std::make_integer_sequence<int, kLanes>());
  }
  if constexpr (BLOCK > 1) transpose<BLOCK / 2>(rows);
}

}  // namespace
}  // namespace s2s::S2S_ISA

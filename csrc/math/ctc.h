// Sums of probabilities in logarithms, in double: what connectionist temporal classification adds along its
// alignments.
#pragma once

#include <cstdint>

#include "math/inline.h"

namespace s2s::math {

constexpr double kLogZero = -__builtin_inf();

// log(e^a + e^b); either may be -infinity.
S2S_INLINE double log_add_exact(double a, double b) {
  const double top = a < b ? b : a, low = a < b ? a : b;
  return low == kLogZero ? top : top + __builtin_log(1.0 + __builtin_exp(low - top));
}

// State s of a target's 2 L + 1: blank, label 0, blank, label 1, ... blank. Whether a path may come to it
// from state s - 2, past a blank: labels that follow one another and are equal need one between them.
S2S_INLINE bool ctc_skips(const int32_t* labels, int64_t s) {
  return s % 2 == 1 && s >= 3 && labels[s / 2] != labels[s / 2 - 1];
}

// Where the paths that end in state s come from: before[s], before[s - 1], before[s - 2].
S2S_INLINE double ctc_arriving(const double* before, const int32_t* labels, int64_t s) {
  double sum = before[s];
  if (s >= 1) sum = log_add_exact(sum, before[s - 1]);
  if (ctc_skips(labels, s)) sum = log_add_exact(sum, before[s - 2]);
  return sum;
}

}  // namespace s2s::math

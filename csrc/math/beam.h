// What a beam search decides by, the same on host and device.
#pragma once

#include <cstdint>

#include "math/inline.h"

namespace s2s::math {

// One head of the merge before another: the more probable one, of equals the one of the earlier row.
S2S_INLINE bool beam_before(double log_prob, int64_t row, double other, int64_t other_row) {
  return log_prob > other || (log_prob == other && row < other_row);
}

// Whether a source stops after a step. finished: its ended hypotheses; worst: the score of the last of the
// best `wanted` of them; log_prob: of its best live hypothesis, which has `length` tokens and, since it
// cannot gain probability, ends at most at the better of two scores: ended by the next token, or as late as
// may be. scales[l] = l ** length_penalty.
S2S_INLINE bool beam_is_done(int64_t finished, int64_t wanted, int64_t enough, double worst, double log_prob,
                             int64_t length, int64_t max_length, const double* scales) {
  if (finished >= enough) return true;
  if (finished < wanted) return false;
  const double next = log_prob / scales[length + 1], last = log_prob / scales[max_length];
  return (next > last ? next : last) <= worst;
}

// The rest takes the arguments of ops/beam_step.h.

template <class Args>
S2S_INLINE int32_t beam_token(const Args& x, int32_t column) {
  return x.vocabulary ? x.vocabulary[column] : column;
}

template <class Args>
S2S_INLINE bool beam_ends(const Args& x, int32_t token) {
  for (int64_t i = 0; i < x.ends; ++i) {
    if (x.end_tokens[i] == token) return true;
  }
  return false;
}

// The first continuation of a row from `rank` on that may be taken; k where there is none.
template <class Args>
S2S_INLINE int64_t beam_next_rank(const Args& x, int64_t row, int64_t rank, bool may_end) {
  for (; rank < x.k; ++rank) {
    const int64_t at = row * x.k + rank;
    if (x.columns[at] < 0 || x.log_probs[at] == -__builtin_inff()) return x.k;
    if (may_end || !beam_ends(x, beam_token(x, x.columns[at]))) return rank;
  }
  return rank;
}

// The score of a hypothesis that has ended goes to its place among the best of its source.
template <class Args>
S2S_INLINE void beam_keep(const Args& x, int64_t source, double score) {
  double* best = x.best + source * x.num_hypotheses;
  int64_t kept = x.finished[source]++;
  if (kept > x.num_hypotheses) kept = x.num_hypotheses;
  int64_t at = kept;
  while (at > 0 && score > best[at - 1]) --at;
  if (at == x.num_hypotheses) return;
  if (kept == x.num_hypotheses) --kept;
  for (; kept > at; --kept) best[kept] = best[kept - 1];
  best[at] = score;
}

// How many of the rows chosen at a step live on.
template <class Args>
S2S_INLINE int64_t beam_survivors(const Args& x, int64_t source, int64_t step, int64_t chosen) {
  if (chosen == 0 || step + 1 == x.max_length) return 0;
  const double worst = x.best[source * x.num_hypotheses + x.num_hypotheses - 1];
  return beam_is_done(x.finished[source], x.num_hypotheses, x.enough, worst, x.scratch[source * x.beam],
                      step + 1, x.max_length, x.scales)
             ? 0
             : chosen;
}

}  // namespace s2s::math

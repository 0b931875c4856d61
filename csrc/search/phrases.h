// Phrases that a hypothesis must contain, and how far it is with them.
//
// Lexically constrained decoding with dynamic beam allocation (Post & Vilar 2018), its beam divided as by Hu
// et al. 2019: the continuations of a step are banks, by how many tokens of the phrases they have, and the
// beam takes the best of each bank, then the second of each, and so on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace s2s {

using Phrase = std::vector<int32_t>;

struct PhraseProgress {
  // The tokens of the phrases that are not complete, each phrase as a whole; and without the beginning that
  // the hypothesis ends with, the longest one of all: so many tokens are enough to complete them.
  int64_t missing = 0, needed = 0;
  // Ascending, each once: the tokens that begin a phrase or go on with one, and those of them that go on with
  // that longest beginning.
  std::vector<int32_t> next, nearest;
};

// A phrase that occurs anywhere in `tokens` is complete.
PhraseProgress phrase_progress(const std::vector<Phrase>& phrases, std::span<const int32_t> tokens);

// A continuation of a live row.
struct Continuation {
  int64_t row;
  int32_t token;
  float score;      // of the token
  double log_prob;  // of the hypothesis
  int64_t needed;   // after the token
};

// Orders continuations of one beam as it takes them: the best of each bank, the bank that needs least first,
// then the second of each, ...
void divide_beam(std::vector<Continuation>& continuations);

}  // namespace s2s

// What a caller may ask of a search. Names and defaults are CTranslate2's; where systems differ silently the
// choice is written here.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace s2s {

struct SearchOptions {
  // Live hypotheses per source; 1 is greedy search.
  int64_t beam_size = 2;

  // A source stops when max(num_hypotheses, round(beam_size * patience)) hypotheses have finished (Kasai et
  // al. 2022; 1 is the rule of fairseq and CTranslate2), or sooner, when no live one can still enter the
  // returned list. The second rule never changes a result; infinity leaves it alone to decide.
  double patience = 1;

  // Hypotheses returned per source, best first; at most beam_size.
  int64_t num_hypotheses = 1;

  // score = log_prob / length^length_penalty. The length is the number of terms in log_prob, so the end token
  // counts (as in fairseq; CTranslate2 leaves it out) and an empty hypothesis has length 1. 1 is the mean
  // token's log-probability, 0 no normalisation.
  double length_penalty = 1;

  // No end token before this many tokens. Its probability is not given to the others (as in fairseq;
  // CTranslate2 normalises anew).
  int64_t min_decoding_length = 1;

  // Steps of the search at most; the end token takes one. A hypothesis cut off here is unfinished: it has
  // max_decoding_length tokens and no end, and is returned, after the finished ones, only where those are
  // fewer than num_hypotheses.
  int64_t max_decoding_length = 256;

  // The part of a model's CTC output in each token's score, the decoder's being 1 - ctc_weight
  // (model/joint_stepper.h); from 0 to 1. Steppers that are no models know nothing of it.
  double ctc_weight = 0;

  // Store every token's attention weights with the hypotheses.
  bool return_attention = false;

  // The only tokens that a model may put out, ascending, an end token among them; none: all. Only their
  // columns of the output layer are computed, and log-probabilities are normalised over them (as with
  // CTranslate2's vocabulary map). Steppers that are no models know nothing of it.
  std::optional<std::vector<int32_t>> vocabulary;

  // The first decoder input, never part of a hypothesis.
  int32_t start_token = -1;

  // Each of these ends a hypothesis; the first is <eos>. Never empty.
  std::vector<int32_t> end_tokens;
};

// Throws std::invalid_argument naming the first option that is wrong for this vocabulary.
void validate(const SearchOptions& options, int64_t vocabulary);

// What hypotheses are ranked by: log_prob under the length penalty. The end token counts in `length`.
double hypothesis_score(const SearchOptions& options, double log_prob, int64_t length);

}  // namespace s2s

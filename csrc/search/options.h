// What a caller may ask of a search. Names and defaults are CTranslate2's where it has the option; where
// systems differ silently the choice is written here. docs/decoding.md has the table.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace s2s {

class Automaton;
class Listener;
class Scorer;

// What a hypothesis's log-probability is divided by, of its length L and the exponent a = length_penalty:
//   power    L^a (fairseq, CTranslate2, transformers, Marian's normalize, Sockeye with beta 0)
//   wu       ((5 + L) / 6)^a (Wu et al. 2016; OpenNMT-py, JoeyNMT)
//   average  L, whatever a is (OpenNMT-py's avg)
//   none     1
enum class LengthPenalty { power, wu, average, none };

// What is taken from a score after the division, of the sums c_i of the attention that each place of the
// source got from the hypothesis's tokens (its end token's among them) and b = coverage_penalty:
//   wu       -b sum_i log(min(c_i, 1)) over the places with c_i > 0 (Wu et al. 2016; as CTranslate2 has it)
//   summary  b sum_i (max(c_i, 1) - 1) (OpenNMT-py)
enum class CoveragePenalty { wu, summary };

// When a source stops. Whatever the rule, it also stops when no live hypothesis can still enter the result,
// and never before num_hypotheses have finished.
//   patience   max(num_hypotheses, round(beam_size * patience)) have finished (Kasai et al. 2022; patience 1:
//              fairseq, and transformers' early_stopping=True)
//   first      the best continuation of some step ended (CTranslate2, where it has no penalties)
//   heuristic  beam_size have finished, and the best live hypothesis would not rank among the beam_size
//              best of them if it ended as it is (transformers' early_stopping=False)
//   never      only when no live one can enter the result (transformers' "never")
enum class EarlyStopping { patience, first, heuristic, never };

// What becomes of the place in the beam of a hypothesis that ends. All but the first look no further than the
// beam_size best continuations of a step.
//   replace  the next best continuation takes it at once (CTranslate2, fairseq, transformers)
//   vacate   it is empty for the step to come (OpenNMT-py)
//   shrink   the beam is smaller by it from then on, and the source stops when there is none left (Marian)
//   stay     it keeps it, as long as its score is among the beam_size best of those of the ended and the
//            log-probabilities of the others; one that drops out is lost. The source stops when all have
//            ended (Sockeye)
//   proceed  it is searched on as if it had not ended, but is not returned again. The source stops when each
//            place has held one that had just ended (JoeyNMT)
enum class EndRule { replace, vacate, shrink, stay, proceed };

// How hypotheses that were cut off at the longest length rank:
//   last          behind the finished ones
//   equal         among them, by their scores. They are those of the beam_size best continuations of the last
//                 step that do not end (CTranslate2, transformers, OpenNMT-py, Marian, JoeyNMT)
//   unnormalized  the same, but their scores are their log_probs (Sockeye)
enum class Unfinished { last, equal, unnormalized };

struct SearchOptions {
  // Live hypotheses per source; 1 is greedy search.
  int64_t beam_size = 2;

  double patience = 1;
  EarlyStopping early_stopping = EarlyStopping::patience;
  // With early_stopping patience: those of a step that would be more than it asks for do not count (fairseq).
  bool cap_finished = false;
  EndRule end_rule = EndRule::replace;
  Unfinished unfinished = Unfinished::last;
  // The last step takes an end token (fairseq).
  bool force_end_token = false;

  // Hypotheses returned per source, best first; at most beam_size, unless each is a sample or an alternative.
  int64_t num_hypotheses = 1;

  // The length is the number of terms in log_prob, so the end token counts (as in fairseq; CTranslate2 leaves
  // it out) and an empty hypothesis has length 1. With power, 1 is the mean token's log-probability, 0 no
  // normalisation. count_end_token: whether the length counts it.
  double length_penalty = 1;
  LengthPenalty length_penalty_type = LengthPenalty::power;
  bool count_end_token = true;

  // Is added to the length (OpenNMT-py: 1, as it counts its start token).
  int64_t length_offset = 0;
  // With power: the divisor is ((beta + L) / (beta + 1))^a (Sockeye).
  double length_penalty_beta = 0;
  // So many times the length is taken from log_prob before the division (Marian).
  double word_penalty = 0;

  // At least 0; needs a model with attention.
  double coverage_penalty = 0;
  CoveragePenalty coverage_penalty_type = CoveragePenalty::wu;
  // Whether a finished hypothesis's coverage has its end token's attention in it (CTranslate2: no).
  bool coverage_end_token = true;

  // No end token before this many tokens. Its probability is not given to the others (as in fairseq;
  // CTranslate2 normalises anew: renormalize).
  int64_t min_decoding_length = 1;

  // Steps of the search at most; the end token takes one. A hypothesis cut off here is unfinished: it has
  // max_decoding_length tokens and no end, and is returned, after the finished ones, only where those are
  // fewer than num_hypotheses.
  int64_t max_decoding_length = 256;

  // The part of a model's CTC output in each token's score, the decoder's being 1 - ctc_weight
  // (model/joint_stepper.h); from 0 to 1. Steppers that are no models know nothing of it.
  double ctc_weight = 0;
  // Also at most floor(max_length_ratio * source length + max_length_offset) steps, but at least 1 (fairseq's
  // max_len_a and max_len_b; Marian's max-length-factor). Needs source_lengths.
  std::optional<double> max_length_ratio;
  int64_t max_length_offset = 0;
  std::vector<int64_t> source_lengths;  // [num_sources]

  // The score of a token that the hypothesis has already is multiplied by this; above 1 it gets less probable
  // (Keskar et al. 2019, of log-probabilities, as in transformers' beam search; CTranslate2: of logits).
  double repetition_penalty = 1;

  // No n-gram of this length occurs twice in a hypothesis; 0: any may.
  int64_t no_repeat_ngram_size = 0;

  // None of these occurs in a hypothesis.
  std::vector<std::vector<int32_t>> suppress_sequences;

  // The model's unknown token is never chosen.
  bool disable_unk = false;
  int32_t unk_token = -1;

  // Behind the prefix, log-probabilities are normalised anew over what the options above allow (CTranslate2).
  bool renormalize = false;

  // [num_sources] or empty: what each hypothesis begins with. Nothing else counts at these steps, no option
  // and no other token; the tokens' log-probabilities are part of the score (as in fairseq; CTranslate2 takes
  // them for 0), and a prefix of max_decoding_length tokens or more is cut off there.
  std::vector<std::vector<int32_t>> target_prefix;

  // [num_sources], or one for all, or empty: a hypothesis is one of the automaton's sequences, then an end
  // token. An unfinished one is the beginning of such. null: anything.
  std::vector<std::shared_ptr<const Automaton>> allowed_outputs;

  // [num_sources] or empty: phrases that a hypothesis must contain to end, each as a whole, its prefix
  // counted (Post & Vilar 2018; search/phrases.h). From the step on at which the steps left are just enough
  // for all that is missing and an end token, only such tokens may follow as bring it nearer. One that still
  // lacks some at its longest length is unfinished. With end_rule replace and one group a beam of several is
  // divided by how much the continuations have of them.
  std::vector<std::vector<std::vector<int32_t>>> must_contain;

  // Other than 1: each hypothesis is a sample, drawn token by token from the sampling_topk most probable (0:
  // from all), in this order (transformers'): scores are divided by sampling_temperature; the sampling_topk
  // best are kept; of these the most probable that together have sampling_topp; of these such as have at
  // least min_p times the probability of the most probable. beam_size must be 1; the num_hypotheses samples
  // of a source are independent, so that two may be equal. token_scores are not what was drawn from, but the
  // log-probabilities before all that.
  int64_t sampling_topk = 1;
  double sampling_topp = 1;
  double min_p = 0;
  double sampling_temperature = 1;
  // Philox 4x32-10 with this key draws the token of step t of sample n of sequence i from counter (t, n, i).
  uint64_t seed = 0;
  std::vector<int64_t> sequence_ids;  // [num_sources] the i; empty: 0, 1, ...

  // The num_hypotheses best tokens of the first position (after target_prefix) that have at least this
  // probability, and for each of them the best hypothesis that begins so, searched on its own.
  bool return_alternatives = false;
  double min_alternative_expansion_prob = 0;

  // Diverse beam search (Vijayakumar et al. 2016): so many groups of beam_size / num_beam_groups hypotheses,
  // each with a search of its own, but that a token loses diversity_penalty for each time that a group before
  // has chosen it in the same step. What it loses is part of token_scores (as in fairseq and transformers).
  // A hypothesis that several groups find is returned once.
  int64_t num_beam_groups = 1;
  double diversity_penalty = 0.5;

  // Store every token's attention weights with the hypotheses.
  bool return_attention = false;

  // Others whose scores are added to the model's, so many times each (search/fusion.h). They may be above 0,
  // so that early_stopping is then all that ends a source before its longest length.
  std::vector<std::pair<std::shared_ptr<Scorer>, double>> scorers;

  // Hears of tokens as soon as they are certain (search/certain.h); null: nobody does.
  std::shared_ptr<Listener> listener;

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
// The same of the options that name sources, or tokens that only the sources have.
void validate_sources(const SearchOptions& options, int64_t vocabulary, int64_t num_sources);

inline bool samples(const SearchOptions& o) {
  return o.sampling_topk != 1;
}
// Whether the steps' attention is kept.
inline bool keeps_attention(const SearchOptions& o) {
  return o.return_attention || o.coverage_penalty > 0;
}
// Whether there is nothing in these that came after the search on a device: it does the beam, its patience,
// the power of the length, the limits of length and a vocabulary.
bool is_plain(const SearchOptions& options);

// Searches that a source has side by side: its samples, alternatives or groups.
int64_t units_of(const SearchOptions& options);
// The most live hypotheses of a source.
int64_t most_rows(const SearchOptions& options);
// Steps at most.
int64_t length_limit(const SearchOptions& options, int64_t source);

// What hypotheses are ranked by, but for coverage: log_prob under the length penalty. `terms`: of log_prob,
// the last of which is the end token's where it has `finished`.
double hypothesis_score(const SearchOptions& options, double log_prob, int64_t terms, bool finished);

}  // namespace s2s

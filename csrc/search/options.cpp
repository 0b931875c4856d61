#include "search/options.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>
#include <string>

#include "search/automaton.h"

namespace s2s {

namespace {

template <typename T>
void require(bool holds, const char* expected, const T& got) {
  if (holds) return;
  std::ostringstream message;
  message << "[search] Expected " << expected << ", got " << got << ".";
  throw std::invalid_argument(message.str());
}

void require_token(const char* name, int64_t token, int64_t vocabulary) {
  const std::string expected = std::string(name) + " between 0 and " + std::to_string(vocabulary - 1);
  require(token >= 0 && token < vocabulary, expected.c_str(), token);
}

void require_vocabulary(const std::vector<int32_t>& tokens, const std::vector<int32_t>& end_tokens,
                        int64_t vocabulary) {
  int32_t before = -1;
  for (const int32_t token : tokens) {
    require_token("vocabulary", token, vocabulary);
    require(token > before, "vocabulary in ascending order, each token once", token);
    before = token;
  }
  const auto listed = [&](int32_t token) { return std::ranges::binary_search(tokens, token); };
  require(std::ranges::any_of(end_tokens, listed), "one of end_tokens in vocabulary", "none");
}

void require_score_options(const SearchOptions& o) {
  require(o.coverage_penalty >= 0 && std::isfinite(o.coverage_penalty), "coverage_penalty of at least 0",
          o.coverage_penalty);
  require(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition_penalty above 0",
          o.repetition_penalty);
  require(o.no_repeat_ngram_size >= 0, "no_repeat_ngram_size of at least 0", o.no_repeat_ngram_size);
  require(o.min_alternative_expansion_prob >= 0 && o.min_alternative_expansion_prob <= 1,
          "min_alternative_expansion_prob between 0 and 1", o.min_alternative_expansion_prob);
  for (const auto& [scorer, weight] : o.scorers) {
    require(std::isfinite(weight), "scorers with finite weights", weight);
  }
  require(!o.disable_unk || o.unk_token >= 0, "disable_unk of a model with an unknown token", "one without");
}

void require_sampling(const SearchOptions& o) {
  require(o.sampling_topk >= 0, "sampling_topk of at least 0", o.sampling_topk);
  require(o.sampling_topp > 0 && o.sampling_topp <= 1, "sampling_topp above 0, at most 1", o.sampling_topp);
  require(o.min_p >= 0 && o.min_p <= 1, "min_p between 0 and 1", o.min_p);
  require(o.sampling_temperature > 0 && std::isfinite(o.sampling_temperature), "sampling_temperature above 0",
          o.sampling_temperature);
  if (!samples(o)) return;
  require(o.beam_size == 1, "beam_size of 1 with sampling", o.beam_size);
  require(!o.return_alternatives, "no return_alternatives with sampling", "both");
}

void require_groups(const SearchOptions& o) {
  require(o.num_beam_groups >= 1, "num_beam_groups of at least 1", o.num_beam_groups);
  require(o.beam_size % o.num_beam_groups == 0, "num_beam_groups that divide beam_size", o.num_beam_groups);
  require(o.diversity_penalty >= 0 && std::isfinite(o.diversity_penalty), "diversity_penalty of at least 0",
          o.diversity_penalty);
  require(o.num_beam_groups == 1 || !o.return_alternatives, "no num_beam_groups with return_alternatives",
          o.num_beam_groups);
  require(!o.listener || !o.return_alternatives, "no callback with return_alternatives", "both");
  require(!o.listener || o.num_beam_groups == 1, "no callback with num_beam_groups", "both");
}

// What decides which hypotheses end, and how they rank.
void require_end_rules(const SearchOptions& o) {
  require(!o.cap_finished || o.early_stopping == EarlyStopping::patience,
          "early_stopping patience with cap_finished", "another");
  require(!o.cap_finished || o.end_rule != EndRule::stay, "no end_rule stay with cap_finished", "both");
  require(o.length_offset >= 0 && o.length_offset <= INT32_MAX, "length_offset of at least 0",
          o.length_offset);
  require(o.length_penalty_beta >= 0 && std::isfinite(o.length_penalty_beta),
          "length_penalty_beta of at least 0", o.length_penalty_beta);
  require(o.length_penalty_beta == 0 || o.length_penalty_type == LengthPenalty::power,
          "length_penalty_type power with length_penalty_beta", "another");
  require(std::isfinite(o.word_penalty), "finite word_penalty", o.word_penalty);
  if (o.end_rule != EndRule::proceed) return;
  require(o.early_stopping == EarlyStopping::never, "early_stopping never with end_rule proceed", "another");
  require(!o.listener, "no callback with end_rule proceed", "both");
}

void require_count(const char* name, size_t got, int64_t sources) {
  const std::string expected = std::string(name) + " for " + std::to_string(sources) + " sources";
  require(static_cast<int64_t>(got) == sources, expected.c_str(), got);
}

}  // namespace

void validate(const SearchOptions& options, int64_t vocabulary) {
  const SearchOptions& o = options;
  require(vocabulary >= 1, "a vocabulary of at least 1 token", vocabulary);
  require(o.beam_size >= 1 && o.beam_size <= INT32_MAX, "beam_size of at least 1 and below 2^31",
          o.beam_size);
  require(o.patience > 0, "patience above 0", o.patience);  // not a number fails too
  require(o.num_hypotheses >= 1, "num_hypotheses of at least 1", o.num_hypotheses);
  require(o.num_hypotheses <= o.beam_size || samples(o) || o.return_alternatives,
          "num_hypotheses of at most beam_size", o.num_hypotheses);
  // Far beyond what is of use; lengths to this power stay well within the range of a double.
  require(std::abs(o.length_penalty) <= 10, "length_penalty between -10 and 10", o.length_penalty);
  require(o.ctc_weight >= 0 && o.ctc_weight <= 1, "ctc_weight from 0 to 1", o.ctc_weight);
  require(o.min_decoding_length >= 0, "min_decoding_length of at least 0", o.min_decoding_length);
  require(o.max_decoding_length >= 1, "max_decoding_length of at least 1", o.max_decoding_length);
  require(o.min_decoding_length <= o.max_decoding_length,
          "min_decoding_length of at most max_decoding_length", o.min_decoding_length);
  if (o.max_length_ratio) {
    require(*o.max_length_ratio >= 0 && *o.max_length_ratio <= 1e6, "max_length_ratio between 0 and 1000000",
            *o.max_length_ratio);
  }
  require(std::abs(o.max_length_offset) <= INT32_MAX, "max_length_offset below 2^31", o.max_length_offset);
  require_score_options(o);
  require_sampling(o);
  require_groups(o);
  require_end_rules(o);
  require_token("start_token", o.start_token, vocabulary);
  require(!o.end_tokens.empty(), "at least one of end_tokens", "none");
  for (const int32_t token : o.end_tokens) require_token("end_tokens", token, vocabulary);
  if (o.vocabulary) require_vocabulary(*o.vocabulary, o.end_tokens, vocabulary);
}

void validate_sources(const SearchOptions& o, int64_t vocabulary, int64_t num_sources) {
  for (const auto& sequence : o.suppress_sequences) {
    require(!sequence.empty(), "suppress_sequences of at least one token each", "none");
    for (const int32_t token : sequence) require_token("suppress_sequences", token, vocabulary);
  }
  if (o.disable_unk) require_token("unk_token", o.unk_token, vocabulary);
  if (o.max_length_ratio) require_count("source_lengths", o.source_lengths.size(), num_sources);
  if (!o.target_prefix.empty()) require_count("target_prefix", o.target_prefix.size(), num_sources);
  for (const auto& prefix : o.target_prefix) {
    for (const int32_t token : prefix) require_token("target_prefix", token, vocabulary);
  }
  if (!o.must_contain.empty()) require_count("must_contain", o.must_contain.size(), num_sources);
  for (const auto& phrases : o.must_contain) {
    for (const auto& phrase : phrases) {
      require(!phrase.empty(), "must_contain of at least one token each", "none");
      for (const int32_t token : phrase) {
        require_token("must_contain", token, vocabulary);
        require(!std::ranges::count(o.end_tokens, token), "must_contain without end tokens", token);
      }
    }
  }
  if (o.allowed_outputs.size() > 1) require_count("allowed_outputs", o.allowed_outputs.size(), num_sources);
  for (const auto& automaton : o.allowed_outputs) {
    if (automaton && automaton->largest() >= 0) {
      require_token("allowed_outputs", automaton->largest(), vocabulary);
      for (const int32_t token : o.end_tokens) {
        require(!automaton->has(token), "allowed_outputs without end tokens", token);
      }
    }
  }
  if (!o.sequence_ids.empty()) require_count("sequence_ids", o.sequence_ids.size(), num_sources);
  for (const int64_t id : o.sequence_ids) require(id >= 0, "sequence_ids of at least 0", id);
}

bool is_plain(const SearchOptions& o) {
  const SearchOptions off;
  return !samples(o) && o.early_stopping == off.early_stopping &&
         o.length_penalty_type == off.length_penalty_type && o.count_end_token && o.length_offset == 0 &&
         o.length_penalty_beta == 0 && o.word_penalty == 0 && !o.cap_finished && o.end_rule == off.end_rule &&
         o.unfinished == off.unfinished && !o.force_end_token && !o.renormalize && !o.listener &&
         o.scorers.empty() && !keeps_attention(o) && !o.max_length_ratio && o.repetition_penalty == 1 &&
         o.no_repeat_ngram_size == 0 && o.suppress_sequences.empty() && !o.disable_unk &&
         o.target_prefix.empty() && o.must_contain.empty() && o.allowed_outputs.empty() &&
         !o.return_alternatives && o.num_beam_groups == 1;
}

int64_t units_of(const SearchOptions& o) {
  return samples(o) || o.return_alternatives ? o.num_hypotheses : o.num_beam_groups;
}

int64_t most_rows(const SearchOptions& o) {
  return o.return_alternatives ? o.num_hypotheses * o.beam_size : std::max(o.beam_size, units_of(o));
}

int64_t length_limit(const SearchOptions& o, int64_t source) {
  if (!o.max_length_ratio) return o.max_decoding_length;
  const double limit = std::floor(*o.max_length_ratio * static_cast<double>(o.source_lengths[source]) +
                                  static_cast<double>(o.max_length_offset));
  if (limit >= static_cast<double>(o.max_decoding_length)) return o.max_decoding_length;
  return std::max<int64_t>(1, static_cast<int64_t>(limit));
}

double hypothesis_score(const SearchOptions& options, double log_prob, int64_t terms, bool finished) {
  const int64_t length = finished && !options.count_end_token ? terms - 1 : terms;
  const double counted = static_cast<double>(std::max<int64_t>(length + options.length_offset, 1));
  const double beta = options.length_penalty_beta;
  log_prob -= options.word_penalty * counted;
  switch (options.length_penalty_type) {
    case LengthPenalty::power:
      return log_prob / std::pow((beta + counted) / (beta + 1), options.length_penalty);
    case LengthPenalty::wu:
      return log_prob / std::pow((5.0 + counted) / 6.0, options.length_penalty);
    case LengthPenalty::average:
      return log_prob / counted;
    case LengthPenalty::none:
      break;
  }
  return log_prob;
}

}  // namespace s2s

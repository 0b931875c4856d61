#include "search/options.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

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

}  // namespace

void validate(const SearchOptions& options, int64_t vocabulary) {
  const SearchOptions& o = options;
  require(vocabulary >= 1, "a vocabulary of at least 1 token", vocabulary);
  require(o.beam_size >= 1 && o.beam_size <= INT32_MAX, "beam_size of at least 1 and below 2^31",
          o.beam_size);
  require(o.patience > 0, "patience above 0", o.patience);  // not a number fails too
  require(o.num_hypotheses >= 1, "num_hypotheses of at least 1", o.num_hypotheses);
  require(o.num_hypotheses <= o.beam_size, "num_hypotheses of at most beam_size", o.num_hypotheses);
  // Far beyond what is of use; lengths to this power stay well within the range of a double.
  require(std::abs(o.length_penalty) <= 10, "length_penalty between -10 and 10", o.length_penalty);
  require(o.ctc_weight >= 0 && o.ctc_weight <= 1, "ctc_weight from 0 to 1", o.ctc_weight);
  require(o.min_decoding_length >= 0, "min_decoding_length of at least 0", o.min_decoding_length);
  require(o.max_decoding_length >= 1, "max_decoding_length of at least 1", o.max_decoding_length);
  require(o.min_decoding_length <= o.max_decoding_length,
          "min_decoding_length of at most max_decoding_length", o.min_decoding_length);
  require_token("start_token", o.start_token, vocabulary);
  require(!o.end_tokens.empty(), "at least one of end_tokens", "none");
  for (const int32_t token : o.end_tokens) require_token("end_tokens", token, vocabulary);
  if (o.vocabulary) require_vocabulary(*o.vocabulary, o.end_tokens, vocabulary);
}

double hypothesis_score(const SearchOptions& options, double log_prob, int64_t length) {
  return log_prob / std::pow(static_cast<double>(length > 0 ? length : 1), options.length_penalty);
}

}  // namespace s2s

// What a search returns.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace s2s {

struct Hypothesis {
  std::vector<int32_t> tokens;  // without the start and the end token
  std::vector<float>
      token_scores;  // log-probability of each token; of the end token too, last, where finished
  std::optional<std::vector<float>> attention;  // if asked for: [token_scores, source_length] row-major
  int64_t source_length = 0;                    // columns of attention
  double log_prob = 0;                          // sum of token_scores
  double score = 0;        // log_prob after the length penalty: what hypotheses are ranked by
  int32_t end_token = -1;  // the end token reached; -1 where unfinished
  bool finished = false;   // false: cut off at the maximum length, or nothing was allowed to follow
};

}  // namespace s2s

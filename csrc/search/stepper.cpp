#include "search/stepper.h"

#include <limits>

namespace s2s {

void Stepper::candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                         int32_t* tokens) {
  const int64_t V = vocabulary();
  const float* dense = this->log_probs();
  for (int64_t row = 0; row < rows; ++row) {
    choose(row, k, dense + row * V, processors, log_probs + row * k, tokens + row * k);
  }
}

void Stepper::choose(int64_t row, int64_t k, const float* scores, const Processors& processors,
                     float* log_probs, int32_t* tokens) {
  constexpr float kForbidden = -std::numeric_limits<float>::infinity();
  const int64_t V = vocabulary();
  if (processors.empty()) return top_k_(scores, V, k, log_probs, tokens);
  sparse_.resize(static_cast<size_t>(V), kForbidden);
  if (const auto listed = processors.apply_listed(row, scores, sparse_)) {
    top_k_.of(*listed, sparse_.data(), k, log_probs, tokens);
    for (const int32_t token : *listed) sparse_[static_cast<size_t>(token)] = kForbidden;
    return;
  }
  // A copy, for the scores may belong to the user's Python code.
  processed_.assign(scores, scores + V);
  processors.apply(row, processed_);
  top_k_(processed_.data(), V, k, log_probs, tokens);
}

}  // namespace s2s

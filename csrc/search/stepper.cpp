#include "search/stepper.h"

#include <algorithm>

namespace s2s {

void Stepper::candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                         int32_t* tokens) {
  const int64_t V = vocabulary();
  const float* dense = this->log_probs();
  for (int64_t row = 0; row < rows; ++row) {
    const float* scores = dense + row * V;
    if (!processors.empty()) {
      // A copy, for the scores may belong to the user's Python code.
      processed_.assign(scores, scores + V);
      processors.apply(row, processed_);
      scores = processed_.data();
    }
    top_k_(scores, V, k, log_probs + row * k, tokens + row * k);
  }
}

}  // namespace s2s

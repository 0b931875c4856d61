#include "model/candidates.h"

#include <algorithm>
#include <limits>

namespace s2s::model {

void take_allowed(const BestColumns& of, std::span<const int32_t> vocabulary,
                  std::span<const int32_t> forbidden, int64_t k, float* log_probs, int32_t* tokens) {
  for (int64_t r = 0; r < of.rows; ++r) {
    if (of.columns[r * of.best] < 0) {
      log_probs[r * k] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    int64_t kept = 0;
    for (int64_t i = r * of.best; i < (r + 1) * of.best && kept < k; ++i) {
      const int32_t column = of.columns[i];
      const int32_t token = vocabulary.empty() ? column : vocabulary[static_cast<size_t>(column)];
      if (std::ranges::find(forbidden, token) != forbidden.end()) continue;
      // In place the next read is never behind.
      log_probs[r * k + kept] = of.log_probs[i];
      tokens[r * k + kept++] = token;
    }
    std::fill(log_probs + r * k + kept, log_probs + (r + 1) * k, -std::numeric_limits<float>::infinity());
    std::fill(tokens + r * k + kept, tokens + (r + 1) * k, 0);
  }
}

}  // namespace s2s::model

#include "search/fusion.h"

namespace s2s {

FusedStepper::FusedStepper(Stepper& inner, const SearchOptions& options, int64_t num_sources)
    : inner_(inner), options_(options) {
  for (const auto& [scorer, weight] : options.scorers) scorer->begin(num_sources);
}

void FusedStepper::advance(const int32_t* parents, const int32_t* tokens, int64_t rows) {
  inner_.advance(parents, tokens, rows);
  const float* scores = inner_.log_probs();
  const int64_t V = vocabulary();
  sums_.assign(scores, scores + rows * V);
  for (const auto& [scorer, weight] : options_.scorers) {
    const float* more = scorer->scores(parents, tokens, rows, V);
    const auto times = static_cast<float>(weight);
    for (int64_t i = 0; i < rows * V; ++i) sums_[static_cast<size_t>(i)] += times * more[i];
  }
}

}  // namespace s2s

// Other scores in a search: a language model's (shallow fusion), a dictionary's, whatever the caller knows.
#pragma once

#include <vector>

#include "search/options.h"
#include "search/stepper.h"

namespace s2s {

// Scores of the tokens that may follow, as a Stepper's log-probabilities come; they need not be any.
class Scorer {
 public:
  virtual ~Scorer() = default;
  // A search of so many sources begins.
  virtual void begin(int64_t num_sources) = 0;
  // As Stepper::advance(); then [rows, vocabulary] row-major, valid until the next call.
  virtual const float* scores(const int32_t* parents, const int32_t* tokens, int64_t rows,
                              int64_t vocabulary) = 0;
};

// A Stepper whose scores are those of another and, so many times, those of options.scorers. token_scores and
// log_prob of a hypothesis are of these sums.
class FusedStepper final : public Stepper {
 public:
  FusedStepper(Stepper& inner, const SearchOptions& options, int64_t num_sources);

  int64_t vocabulary() const override { return inner_.vocabulary(); }
  int64_t source_length(int64_t source) const override { return inner_.source_length(source); }
  void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) override;
  const float* attention(int64_t* stride) override { return inner_.attention(stride); }
  const float* log_probs() override { return sums_.data(); }

 private:
  Stepper& inner_;
  const SearchOptions& options_;
  std::vector<float> sums_;  // [rows, vocabulary]
};

}  // namespace s2s

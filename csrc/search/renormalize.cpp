// Probabilities that are of what is allowed.
#include <algorithm>
#include <cmath>
#include <limits>

#include "search/processor.h"

namespace s2s {

namespace {

class Renormalization final : public Processor {
 public:
  explicit Renormalization(const SearchOptions& o)
      : min_length_(o.min_decoding_length),
        always_(o.disable_unk || !o.suppress_sequences.empty() || o.no_repeat_ngram_size > 0 ||
                o.repetition_penalty != 1 || o.force_end_token),
        allowed_(o.allowed_outputs),
        phrases_(o.must_contain) {}

  bool active(int64_t step) const override {
    return always_ || step < min_length_ || !allowed_.empty() || !phrases_.empty();
  }

  // Said by the options of its source alone: a row's bits do not depend on its neighbours.
  bool concerns(const RowView& row) const override {
    if (always_ || row.length < min_length_) return true;
    if (!phrases_.empty() && !phrases_[static_cast<size_t>(row.source)].empty()) return true;
    return !allowed_.empty() && allowed_[allowed_.size() == 1 ? 0 : static_cast<size_t>(row.source)];
  }

  void process(const RowView& row, std::span<float> log_probs) override {
    if (!concerns(row)) return;
    const float most = *std::ranges::max_element(log_probs);
    if (!std::isfinite(most)) return;  // nothing may follow, or the score is for the search to refuse
    double sum = 0;
    for (const float x : log_probs) sum += std::exp(static_cast<double>(x) - most);
    const auto log_sum = static_cast<float>(std::log(sum));
    for (float& x : log_probs) x = x - most - log_sum;
  }

 private:
  const int64_t min_length_;
  const bool always_;
  const std::vector<std::shared_ptr<const Automaton>> allowed_;  // of each source, or of all
  const std::vector<std::vector<std::vector<int32_t>>> phrases_;
};

}  // namespace

ProcessorPtr make_renormalization(const SearchOptions& options) {
  return std::make_unique<Renormalization>(options);
}

}  // namespace s2s

// Hypotheses that are sequences of an automaton.
#include <algorithm>
#include <limits>

#include "search/automaton.h"
#include "search/processor.h"

namespace s2s {

namespace {

class AllowedOutputs final : public Processor {
 public:
  explicit AllowedOutputs(const SearchOptions& options)
      : automata_(options.allowed_outputs), end_tokens_(options.end_tokens) {}

  bool active(int64_t) const override { return true; }

  bool concerns(const RowView& row) const override { return automaton_of(row) != nullptr; }

  std::optional<std::span<const int32_t>> listed(const RowView& row) override {
    const Automaton* automaton = automaton_of(row);
    if (automaton == nullptr) return std::nullopt;
    const int64_t state = automaton->find(row.tokens());
    if (state < 0) return std::span<const int32_t>();  // its prefix is the beginning of none
    if (!automaton->accepts(state)) return automaton->tokens(state);
    allowed_.assign(automaton->tokens(state).begin(), automaton->tokens(state).end());
    allowed_.insert(allowed_.end(), end_tokens_.begin(), end_tokens_.end());
    std::ranges::sort(allowed_);  // an end token may be one of the automaton's, too
    allowed_.erase(std::unique(allowed_.begin(), allowed_.end()), allowed_.end());
    return allowed_;
  }

  void process(const RowView& row, std::span<float> log_probs) override {
    const auto tokens = listed(row);
    if (!tokens) return;
    scores_.clear();
    for (const int32_t token : *tokens) scores_.push_back(log_probs[static_cast<size_t>(token)]);
    std::ranges::fill(log_probs, -std::numeric_limits<float>::infinity());
    for (size_t i = 0; i < tokens->size(); ++i) log_probs[static_cast<size_t>((*tokens)[i])] = scores_[i];
  }

 private:
  const Automaton* automaton_of(const RowView& row) const {
    return automata_[automata_.size() == 1 ? 0 : static_cast<size_t>(row.source)].get();
  }

  const std::vector<std::shared_ptr<const Automaton>> automata_;
  const std::vector<int32_t> end_tokens_;
  std::vector<int32_t> allowed_;
  std::vector<float> scores_;
};

}  // namespace

ProcessorPtr make_allowed_outputs(const SearchOptions& options) {
  return std::make_unique<AllowedOutputs>(options);
}

}  // namespace s2s

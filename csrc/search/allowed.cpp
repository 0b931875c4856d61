// Hypotheses that are sequences of a trie.
#include <algorithm>
#include <limits>
#include <utility>

#include "search/processor.h"
#include "search/trie.h"

namespace s2s {

namespace {

class AllowedOutputs final : public Processor {
 public:
  explicit AllowedOutputs(const SearchOptions& options)
      : tries_(options.allowed_outputs), end_tokens_(options.end_tokens) {}

  bool active(int64_t) const override { return true; }

  bool concerns(const RowView& row) const override { return trie_of(row) != nullptr; }

  void process(const RowView& row, std::span<float> log_probs) override {
    const Trie* trie = trie_of(row);
    if (trie == nullptr) return;
    const int64_t node = trie->find(row.tokens());  // -1: its prefix is the beginning of none
    allowed_.clear();
    if (node >= 0) {
      for (const int32_t token : trie->tokens(node)) keep(token, log_probs);
      if (trie->ends(node)) {
        for (const int32_t token : end_tokens_) keep(token, log_probs);
      }
    }
    std::ranges::fill(log_probs, -std::numeric_limits<float>::infinity());
    for (const auto& [token, score] : allowed_) log_probs[static_cast<size_t>(token)] = score;
  }

 private:
  const Trie* trie_of(const RowView& row) const {
    return tries_[tries_.size() == 1 ? 0 : static_cast<size_t>(row.source)].get();
  }
  void keep(int32_t token, std::span<const float> log_probs) {
    allowed_.emplace_back(token, log_probs[static_cast<size_t>(token)]);
  }

  const std::vector<std::shared_ptr<const Trie>> tries_;
  const std::vector<int32_t> end_tokens_;
  std::vector<std::pair<int32_t, float>> allowed_;
};

}  // namespace

ProcessorPtr make_allowed_outputs(const SearchOptions& options) {
  return std::make_unique<AllowedOutputs>(options);
}

}  // namespace s2s

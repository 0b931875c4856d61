// Tokens and sequences that never come out.
#include <algorithm>
#include <limits>

#include "search/processor.h"

namespace s2s {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

class Suppressed final : public Processor {
 public:
  explicit Suppressed(const SearchOptions& options) {
    if (options.disable_unk) tokens_.push_back(options.unk_token);
    for (const auto& sequence : options.suppress_sequences) {
      if (sequence.size() == 1) tokens_.push_back(sequence.front());
    }
    std::ranges::sort(tokens_);
    tokens_.erase(std::unique(tokens_.begin(), tokens_.end()), tokens_.end());
  }

  bool active(int64_t) const override { return !tokens_.empty(); }

  std::optional<std::span<const int32_t>> forbidden() const override { return tokens_; }

  void process(const RowView&, std::span<float> log_probs) override {
    for (const int32_t token : tokens_) log_probs[static_cast<size_t>(token)] = kForbidden;
  }

 private:
  std::vector<int32_t> tokens_;
};

// The last token of a sequence is forbidden where a hypothesis ends with those before it.
class SuppressedSequences final : public Processor {
 public:
  explicit SuppressedSequences(const SearchOptions& options) {
    for (const auto& sequence : options.suppress_sequences) {
      if (sequence.size() > 1) sequences_.push_back(sequence);
    }
  }

  bool active(int64_t step) const override {
    return std::ranges::any_of(sequences_, [step](const auto& sequence) {
      return static_cast<int64_t>(sequence.size()) <= step + 1;
    });
  }

  void process(const RowView& row, std::span<float> log_probs) override {
    const auto tokens = row.tokens();
    for (const auto& sequence : sequences_) {
      const size_t before = sequence.size() - 1;
      if (tokens.size() < before) continue;
      if (std::ranges::equal(tokens.last(before), std::span(sequence).first(before))) {
        log_probs[static_cast<size_t>(sequence.back())] = kForbidden;
      }
    }
  }

 private:
  std::vector<std::vector<int32_t>> sequences_;  // of at least two tokens
};

}  // namespace

ProcessorPtr make_suppressed(const SearchOptions& options) {
  return std::make_unique<Suppressed>(options);
}

ProcessorPtr make_suppressed_sequences(const SearchOptions& options) {
  return std::make_unique<SuppressedSequences>(options);
}

}  // namespace s2s

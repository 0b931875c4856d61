// An end token at the last step.
#include <algorithm>
#include <limits>

#include "search/processor.h"

namespace s2s {

namespace {

class ForcedEnd final : public Processor {
 public:
  explicit ForcedEnd(const SearchOptions& options)
      : options_(options), end_tokens_(options.end_tokens), shortest_(options.max_decoding_length) {
    std::ranges::sort(end_tokens_);
    end_tokens_.erase(std::unique(end_tokens_.begin(), end_tokens_.end()), end_tokens_.end());
    if (!options.max_length_ratio) return;
    for (size_t i = 0; i < options.source_lengths.size(); ++i) {
      shortest_ = std::min(shortest_, length_limit(options, static_cast<int64_t>(i)));
    }
  }

  bool active(int64_t step) const override { return step + 1 >= shortest_; }

  bool concerns(const RowView& row) const override {
    return row.length + 1 >= length_limit(options_, row.source);
  }

  std::optional<std::span<const int32_t>> listed(const RowView& row) override {
    if (!concerns(row)) return std::nullopt;
    return end_tokens_;
  }

  void process(const RowView& row, std::span<float> log_probs) override {
    if (!concerns(row)) return;
    scores_.clear();
    for (const int32_t token : end_tokens_) scores_.push_back(log_probs[static_cast<size_t>(token)]);
    std::ranges::fill(log_probs, -std::numeric_limits<float>::infinity());
    for (size_t i = 0; i < scores_.size(); ++i) {
      log_probs[static_cast<size_t>(end_tokens_[i])] = scores_[i];
    }
  }

 private:
  const SearchOptions& options_;  // outlive the processors
  std::vector<int32_t> end_tokens_;
  int64_t shortest_;  // the fewest steps of any source
  std::vector<float> scores_;
};

}  // namespace

ProcessorPtr make_forced_end(const SearchOptions& options) {
  return std::make_unique<ForcedEnd>(options);
}

}  // namespace s2s

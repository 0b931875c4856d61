// Against repetition: a penalty for tokens that a hypothesis has, a ban on n-grams that it has.
#include <algorithm>
#include <limits>

#include "search/processor.h"

namespace s2s {

namespace {

class RepetitionPenalty final : public Processor {
 public:
  explicit RepetitionPenalty(const SearchOptions& options)
      : penalty_(static_cast<float>(options.repetition_penalty)) {
    distinct_.reserve(static_cast<size_t>(std::min<int64_t>(options.max_decoding_length, 1 << 16)));
  }

  bool active(int64_t step) const override { return step > 0; }

  void process(const RowView& row, std::span<float> log_probs) override {
    const auto tokens = row.tokens();
    distinct_.assign(tokens.begin(), tokens.end());
    std::ranges::sort(distinct_);
    const auto rest = std::unique(distinct_.begin(), distinct_.end());
    for (auto token = distinct_.begin(); token != rest; ++token) {
      float& score = log_probs[static_cast<size_t>(*token)];
      // None is above 0 but by rounding.
      score = score < 0 ? score * penalty_ : score / penalty_;
    }
  }

 private:
  const float penalty_;
  std::vector<int32_t> distinct_;
};

class NoRepeatNgram final : public Processor {
 public:
  explicit NoRepeatNgram(const SearchOptions& options)
      : before_(static_cast<size_t>(options.no_repeat_ngram_size) - 1) {}

  bool active(int64_t step) const override { return step > static_cast<int64_t>(before_); }

  void process(const RowView& row, std::span<float> log_probs) override {
    const auto tokens = row.tokens();
    if (tokens.size() <= before_) return;
    const auto last = tokens.last(before_);
    for (size_t i = 0; i + before_ < tokens.size(); ++i) {
      if (!std::ranges::equal(tokens.subspan(i, before_), last)) continue;
      log_probs[static_cast<size_t>(tokens[i + before_])] = -std::numeric_limits<float>::infinity();
    }
  }

 private:
  const size_t before_;  // tokens of an n-gram before its last
};

}  // namespace

ProcessorPtr make_repetition_penalty(const SearchOptions& options) {
  return std::make_unique<RepetitionPenalty>(options);
}

ProcessorPtr make_no_repeat_ngram(const SearchOptions& options) {
  return std::make_unique<NoRepeatNgram>(options);
}

}  // namespace s2s

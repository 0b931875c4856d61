#include "search/processor.h"

#include <limits>
#include <utility>

#include "search/history.h"

namespace s2s {

namespace {

// No end token before min_decoding_length tokens.
class MinLength final : public Processor {
 public:
  explicit MinLength(const SearchOptions& options)
      : min_length_(options.min_decoding_length), end_tokens_(options.end_tokens) {}

  bool active(int64_t step) const override { return step < min_length_; }

  std::optional<std::span<const int32_t>> forbidden() const override { return end_tokens_; }

  void process(const RowView&, std::span<float> log_probs) override {
    for (const int32_t token : end_tokens_) log_probs[token] = -std::numeric_limits<float>::infinity();
  }

 private:
  const int64_t min_length_;
  const std::vector<int32_t> end_tokens_;
};

}  // namespace

std::vector<std::unique_ptr<Processor>> make_processors(const SearchOptions& options) {
  std::vector<std::unique_ptr<Processor>> all;
  if (options.min_decoding_length > 0) all.push_back(std::make_unique<MinLength>(options));
  return all;
}

std::span<const int32_t> RowView::tokens() const {
  history_.tokens(node_, length, scratch_);
  return scratch_;
}

void Processors::reset(std::vector<std::unique_ptr<Processor>> all, const History& history) {
  all_ = std::move(all);
  active_.clear();
  history_ = &history;
}

void Processors::begin_step(int64_t step, const int64_t* nodes, const int32_t* sources) {
  step_ = step;
  nodes_ = nodes;
  sources_ = sources;
  active_.clear();
  forbidden_.clear();
  only_forbid_ = true;
  for (const auto& processor : all_) {
    if (!processor->active(step)) continue;
    active_.push_back(processor.get());
    if (const auto tokens = processor->forbidden()) {
      forbidden_.insert(forbidden_.end(), tokens->begin(), tokens->end());
    } else {
      only_forbid_ = false;
    }
  }
}

void Processors::apply(int64_t row, std::span<float> log_probs) const {
  const RowView view(*history_, nodes_[row], sources_[row], step_, scratch_);
  for (Processor* processor : active_) processor->process(view, log_probs);
}

}  // namespace s2s

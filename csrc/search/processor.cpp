#include "search/processor.h"

#include <algorithm>
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

std::vector<std::unique_ptr<Processor>> make_processors(const SearchOptions& o) {
  std::vector<std::unique_ptr<Processor>> all;
  if (!o.target_prefix.empty()) all.push_back(make_prefix(o));
  if (o.min_decoding_length > 0) all.push_back(std::make_unique<MinLength>(o));
  if (o.disable_unk || !o.suppress_sequences.empty()) {
    all.push_back(make_suppressed(o));
    all.push_back(make_suppressed_sequences(o));
  }
  if (o.no_repeat_ngram_size > 0) all.push_back(make_no_repeat_ngram(o));
  if (o.repetition_penalty != 1) all.push_back(make_repetition_penalty(o));
  if (!o.allowed_outputs.empty()) all.push_back(make_allowed_outputs(o));
  const auto has_some = [](const auto& phrases) { return !phrases.empty(); };
  if (std::ranges::any_of(o.must_contain, has_some)) all.push_back(make_must_contain(o));
  if (o.force_end_token) all.push_back(make_forced_end(o));
  if (o.renormalize) all.push_back(make_renormalization(o));
  return all;
}

std::span<const int32_t> RowView::tokens() const {
  if (!walked_) history_.tokens(node_, length, scratch_);
  walked_ = true;
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

bool Processors::concern(int64_t row) const {
  const RowView view(*history_, nodes_[row], sources_[row], step_, scratch_);
  return std::ranges::any_of(active_, [&](const Processor* processor) {
    return !processor->forbidden() && processor->concerns(view);
  });
}

void Processors::apply(int64_t row, std::span<float> log_probs) const {
  const RowView view(*history_, nodes_[row], sources_[row], step_, scratch_);
  for (const Processor* processor : active_) {
    const int32_t token = processor->forced(view);
    if (token < 0) continue;
    const float score = log_probs[token];
    std::ranges::fill(log_probs, -std::numeric_limits<float>::infinity());
    log_probs[token] = score;
    return;
  }
  for (Processor* processor : active_) processor->process(view, log_probs);
}

std::optional<std::span<const int32_t>> Processors::apply_listed(int64_t row, const float* log_probs,
                                                                 std::span<float> sparse) const {
  const RowView view(*history_, nodes_[row], sources_[row], step_, scratch_);
  for (const Processor* processor : active_) {
    forced_ = processor->forced(view);
    if (forced_ < 0) continue;
    sparse[static_cast<size_t>(forced_)] = log_probs[forced_];
    return std::span<const int32_t>(&forced_, 1);
  }
  for (Processor* lists : active_) {
    const auto tokens = lists->listed(view);
    if (!tokens) continue;
    for (const int32_t token : *tokens) sparse[static_cast<size_t>(token)] = log_probs[token];
    for (Processor* processor : active_) {
      if (processor != lists) processor->process(view, sparse);
    }
    return tokens;
  }
  return std::nullopt;
}

}  // namespace s2s

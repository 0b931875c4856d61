#include "search/phrases.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "search/processor.h"

namespace s2s {

namespace {

// Whether these end with the first `length` tokens of a phrase.
bool ends_with(std::span<const int32_t> tokens, const Phrase& phrase, size_t length) {
  return std::ranges::equal(tokens.last(length), std::span(phrase).first(length));
}

void sort_unique(std::vector<int32_t>& tokens) {
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
}

// No end token while a phrase is missing; and only tokens that are needed as soon as there is just room for
// them and an end token.
class MustContain final : public Processor {
 public:
  explicit MustContain(const SearchOptions& options) : options_(options) {}

  bool active(int64_t) const override { return true; }

  bool concerns(const RowView& row) const override { return !phrases_of(row).empty(); }

  std::optional<std::span<const int32_t>> listed(const RowView& row) override {
    if (!concerns(row)) return std::nullopt;
    progress_ = phrase_progress(phrases_of(row), row.tokens());
    const int64_t steps = length_limit(options_, row.source) - row.length;
    if (progress_.needed == 0 || progress_.missing + 1 < steps)
      return std::nullopt;  // a token may undo what was begun
    return progress_.nearest;
  }

  void process(const RowView& row, std::span<float> log_probs) override {
    const auto only = listed(row);
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    if (only) {
      scores_.clear();
      for (const int32_t token : *only) scores_.push_back(log_probs[static_cast<size_t>(token)]);
      std::ranges::fill(log_probs, kNever);
      for (size_t i = 0; i < only->size(); ++i) log_probs[static_cast<size_t>((*only)[i])] = scores_[i];
    } else if (concerns(row) && progress_.needed > 0) {
      for (const int32_t token : options_.end_tokens) log_probs[static_cast<size_t>(token)] = kNever;
    }
  }

 private:
  const std::vector<Phrase>& phrases_of(const RowView& row) const {
    return options_.must_contain[static_cast<size_t>(row.source)];
  }

  const SearchOptions& options_;  // outlive the processors
  PhraseProgress progress_;
  std::vector<float> scores_;
};

}  // namespace

PhraseProgress phrase_progress(const std::vector<Phrase>& phrases, std::span<const int32_t> tokens) {
  PhraseProgress found;
  size_t most = 0;
  for (const Phrase& phrase : phrases) {
    if (std::search(tokens.begin(), tokens.end(), phrase.begin(), phrase.end()) != tokens.end()) continue;
    size_t has = 0;
    for (size_t length = 0; length < std::min(phrase.size(), tokens.size() + 1); ++length) {
      if (!ends_with(tokens, phrase, length)) continue;
      found.next.push_back(phrase[length]);
      has = length;
    }
    found.needed += static_cast<int64_t>(phrase.size());
    if (has > most) found.nearest.clear();
    if (has >= most) found.nearest.push_back(phrase[has]);
    most = std::max(most, has);
  }
  found.missing = found.needed;
  found.needed -= static_cast<int64_t>(most);
  sort_unique(found.next);
  sort_unique(found.nearest);
  return found;
}

void divide_beam(std::vector<Continuation>& all) {
  std::ranges::sort(all, [](const Continuation& a, const Continuation& b) {
    return std::tuple(-a.log_prob, a.row, a.token) < std::tuple(-b.log_prob, b.row, b.token);
  });
  std::map<int64_t, int64_t> sizes;  // of the banks
  std::vector<std::pair<int64_t, Continuation>> ranked;
  ranked.reserve(all.size());
  for (const Continuation& one : all) ranked.emplace_back(sizes[one.needed]++, one);
  std::ranges::stable_sort(ranked, [](const auto& a, const auto& b) {
    return std::tuple(a.first, a.second.needed) < std::tuple(b.first, b.second.needed);
  });
  for (size_t i = 0; i < all.size(); ++i) all[i] = ranked[i].second;
}

ProcessorPtr make_must_contain(const SearchOptions& options) {
  return std::make_unique<MustContain>(options);
}

}  // namespace s2s

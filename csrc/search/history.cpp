#include "search/history.h"

#include <algorithm>

namespace s2s {

void History::reset(int64_t num_sources) {
  nodes_.assign(num_sources, {-1, -1, 0.0f});
  attention_begin_.clear();
  attention_.clear();
}

void History::add_attention(int64_t node, const float* weights, int64_t length) {
  if (attention_begin_.size() < nodes_.size()) attention_begin_.resize(nodes_.size());
  attention_begin_[node] = static_cast<int64_t>(attention_.size());
  attention_.insert(attention_.end(), weights, weights + length);
}

void History::tokens(int64_t node, int64_t length, std::vector<int32_t>& tokens) const {
  tokens.resize(length);
  for (int64_t t = length - 1; t >= 0; --t, node = nodes_[node].parent) tokens[t] = nodes_[node].token;
}

void History::coverage(int64_t node, int64_t length, std::vector<double>& sums) const {
  sums.assign(static_cast<size_t>(length), 0.0);
  for (node = nodes_[node].parent; node >= 0; node = nodes_[node].parent) {
    const float* weights = attention_.data() + attention_begin_[node];
    for (int64_t i = 0; i < length; ++i) sums[i] += static_cast<double>(weights[i]);
  }
}

Hypothesis History::hypothesis(int64_t node, bool finished, int64_t source_length) const {
  int64_t length = 0;
  for (int64_t n = node; nodes_[n].parent >= 0; n = nodes_[n].parent) ++length;

  Hypothesis result;
  tokens(node, length, result.tokens);
  result.token_scores.resize(length);
  if (source_length >= 0) {
    result.source_length = source_length;
    result.attention.emplace(length * source_length);
  }
  for (int64_t t = length - 1; t >= 0; --t, node = nodes_[node].parent) {
    result.token_scores[t] = nodes_[node].log_prob;
    if (result.attention) {
      // A token's weights belong to the hypothesis that it was chosen to continue.
      const float* weights = attention_.data() + attention_begin_[nodes_[node].parent];
      std::copy_n(weights, source_length, result.attention->data() + t * source_length);
    }
  }
  if (finished) {
    result.finished = true;
    result.end_token = result.tokens.back();
    result.tokens.pop_back();
  }
  return result;
}

void Ranking::reset(int64_t num_units, int64_t capacity) {
  capacity_ = capacity;
  entries_.resize(num_units * capacity);
  kept_.assign(num_units, 0);
}

void Ranking::add(int64_t unit, const Entry& entry) {
  Entry* entries = entries_.data() + unit * capacity_;
  int64_t& kept = kept_[unit];
  const int64_t place = std::upper_bound(entries, entries + kept, entry, before) - entries;
  if (place == capacity_) return;
  if (kept < capacity_) ++kept;
  std::move_backward(entries + place, entries + kept - 1, entries + kept);
  entries[place] = entry;
}

}  // namespace s2s

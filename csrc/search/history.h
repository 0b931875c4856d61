// Every token a search has taken, as a forest of back pointers, and each source's best ended hypotheses.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "search/hypothesis.h"

namespace s2s {

// Nodes are numbered; 0 .. num_sources-1 are the roots (start tokens) of the sources. A hypothesis is named
// by the node of its last token.
class History {
 public:
  void reset(int64_t num_sources);

  int64_t add(int64_t parent, int32_t token, float log_prob) {
    nodes_.push_back({parent, token, log_prob});
    return static_cast<int64_t>(nodes_.size()) - 1;
  }

  int64_t parent(int64_t node) const { return nodes_[node].parent; }
  int32_t token(int64_t node) const { return nodes_[node].token; }
  float log_prob(int64_t node) const { return nodes_[node].log_prob; }

  // Keeps the weights [length] with which the tokens after this node are chosen. Sources differ in length,
  // and a source must always give the same.
  void add_attention(int64_t node, const float* weights, int64_t length);

  // The tokens of the hypothesis, written to `tokens` (resized to `length`).
  void tokens(int64_t node, int64_t length, std::vector<int32_t>& tokens) const;

  // The sums of the weights with which the hypothesis's tokens were chosen, written to `sums` (resized to
  // `length`).
  void coverage(int64_t node, int64_t length, std::vector<double>& sums) const;

  // The hypothesis that ends here, without log_prob and score; `finished` says that its last token is an end
  // token. source_length is the length given to add_attention(), -1 where no attention is wanted.
  Hypothesis hypothesis(int64_t node, bool finished, int64_t source_length) const;

 private:
  struct Node {
    int64_t parent;  // -1 for a root
    int32_t token;
    float log_prob;
  };
  std::vector<Node> nodes_;
  std::vector<int64_t> attention_begin_;  // [node], where its weights begin
  std::vector<float> attention_;
};

// The best `capacity` ended hypotheses of every unit, in order.
class Ranking {
 public:
  struct Entry {
    int64_t node;
    double log_prob;
    double score;
    bool finished;
  };

  void reset(int64_t num_units, int64_t capacity);

  // Finished ones rank before others, then the higher score, then the one that came first.
  void add(int64_t unit, const Entry& entry);
  static bool before(const Entry& a, const Entry& b) {
    return a.finished != b.finished ? a.finished : a.score > b.score;
  }

  // The best ones so far, at most `capacity`.
  std::span<const Entry> best(int64_t unit) const {
    return {entries_.data() + unit * capacity_, static_cast<size_t>(kept_[unit])};
  }

 private:
  int64_t capacity_ = 0;
  std::vector<Entry> entries_;  // [num_units, capacity]
  std::vector<int64_t> kept_;   // [num_units]
};

}  // namespace s2s

// A set of token sequences, and what may follow each beginning of one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace s2s {

// Nodes are numbered level by level, the root is 0. Immutable, so that any number of searches may share one.
class Trie {
 public:
  // Sequences in any order, also twice; an empty one is allowed. Throws std::invalid_argument for a negative
  // token.
  explicit Trie(std::vector<std::vector<int32_t>> sequences);

  // The tokens that may follow, ascending.
  std::span<const int32_t> tokens(int64_t node) const {
    return {tokens_.data() + begins_[node], static_cast<size_t>(begins_[node + 1] - begins_[node])};
  }
  // The node that a token leads to; -1: none.
  int64_t child(int64_t node, int32_t token) const;
  // The node that a beginning leads to; -1: none.
  int64_t find(std::span<const int32_t> beginning) const;
  // Whether a sequence ends here.
  bool ends(int64_t node) const { return ends_[node]; }

  int64_t size() const { return size_; }        // sequences
  int32_t largest() const { return largest_; }  // token; -1: none

 private:
  std::vector<int64_t> begins_;  // [nodes + 1], of each node's edges
  std::vector<int32_t> tokens_;  // [edges]; edge e leads to node e + 1
  std::vector<bool> ends_;       // [nodes]
  int64_t size_ = 0;
  int32_t largest_ = -1;
};

}  // namespace s2s

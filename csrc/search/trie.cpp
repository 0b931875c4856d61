#include "search/trie.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace s2s {

Trie::Trie(std::vector<std::vector<int32_t>> sequences) {
  for (const auto& sequence : sequences) {
    for (const int32_t token : sequence) {
      if (token < 0) {
        throw std::invalid_argument("[Trie] Expected tokens of at least 0, got " + std::to_string(token) +
                                    ".");
      }
      largest_ = std::max(largest_, token);
    }
  }
  std::ranges::sort(sequences);
  sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
  size_ = static_cast<int64_t>(sequences.size());

  // A node is a range of sorted sequences with a common beginning; its edges are made when its turn comes, so
  // that those of all nodes lie one after the other and so do the nodes they lead to.
  struct Range {
    size_t begin, end, length;
  };
  std::vector<Range> nodes{{0, sequences.size(), 0}};
  for (size_t n = 0; n < nodes.size(); ++n) {
    const Range node = nodes[n];
    begins_.push_back(static_cast<int64_t>(tokens_.size()));
    size_t at = node.begin;
    const bool ends = at < node.end && sequences[at].size() == node.length;  // the shortest comes first
    ends_.push_back(ends);
    if (ends) ++at;
    while (at < node.end) {
      const int32_t token = sequences[at][node.length];
      const size_t begin = at;
      while (at < node.end && sequences[at][node.length] == token) ++at;
      tokens_.push_back(token);
      nodes.push_back({begin, at, node.length + 1});
    }
  }
  begins_.push_back(static_cast<int64_t>(tokens_.size()));
}

int64_t Trie::child(int64_t node, int32_t token) const {
  const auto children = tokens(node);
  const auto found = std::ranges::lower_bound(children, token);
  if (found == children.end() || *found != token) return -1;
  return begins_[node] + (found - children.begin()) + 1;
}

int64_t Trie::find(std::span<const int32_t> beginning) const {
  int64_t node = 0;
  for (size_t i = 0; i < beginning.size() && node >= 0; ++i) node = child(node, beginning[i]);
  return node;
}

}  // namespace s2s

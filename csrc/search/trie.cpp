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
    }
  }
  std::ranges::sort(sequences);
  sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
  size_ = static_cast<int64_t>(sequences.size());

  // A state is a range of sorted sequences with a common beginning; its edges are made when its turn comes,
  // so that those of all states lie one after the other and so do the states they lead to.
  struct Range {
    size_t begin, end, length;
  };
  std::vector<Range> states{{0, sequences.size(), 0}};
  for (size_t n = 0; n < states.size(); ++n) {
    const Range state = states[n];
    begins_.push_back(static_cast<int64_t>(tokens_.size()));
    size_t at = state.begin;
    const bool ends = at < state.end && sequences[at].size() == state.length;  // the shortest comes first
    accepts_.push_back(ends);
    if (ends) ++at;
    while (at < state.end) {
      const int32_t token = sequences[at][state.length];
      const size_t begin = at;
      while (at < state.end && sequences[at][state.length] == token) ++at;
      tokens_.push_back(token);
      targets_.push_back(static_cast<int32_t>(states.size()));
      states.push_back({begin, at, state.length + 1});
    }
  }
  begins_.push_back(static_cast<int64_t>(tokens_.size()));
  find_distinct();
}

}  // namespace s2s

// A set of token sequences, possibly without end, and what may follow each beginning of one: a deterministic
// finite automaton.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace s2s {

// States are numbered, 0 is where every sequence begins. Immutable, so that any number of searches may share
// one.
class Automaton {
 public:
  // State n has the edges begins[n] .. begins[n + 1], of ascending `tokens`, that lead to `targets`; a
  // sequence may end where accepts[n]. Throws std::invalid_argument where these are no automaton.
  Automaton(std::vector<int64_t> begins, std::vector<int32_t> tokens, std::vector<int32_t> targets,
            std::vector<bool> accepts);

  // The tokens that may follow, ascending.
  std::span<const int32_t> tokens(int64_t state) const {
    return {tokens_.data() + begins_[state], static_cast<size_t>(begins_[state + 1] - begins_[state])};
  }
  // The state that a token leads to; -1: none.
  int64_t next(int64_t state, int32_t token) const;
  // The state that a beginning leads to; -1: none.
  int64_t find(std::span<const int32_t> beginning) const;
  // Whether a sequence may end here.
  bool accepts(int64_t state) const { return accepts_[state]; }

  int64_t states() const { return static_cast<int64_t>(accepts_.size()); }
  int32_t largest() const { return distinct_.empty() ? -1 : distinct_.back(); }  // token; -1: none
  bool has(int32_t token) const { return std::ranges::binary_search(distinct_, token); }

 protected:
  Automaton() = default;
  void check();
  void find_distinct();  // once the tokens are there

  std::vector<int64_t> begins_;    // [states + 1]
  std::vector<int32_t> tokens_;    // [edges]
  std::vector<int32_t> targets_;   // [edges]
  std::vector<bool> accepts_;      // [states]
  std::vector<int32_t> distinct_;  // of tokens_, ascending
};

}  // namespace s2s

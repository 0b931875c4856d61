// The automaton of finitely many sequences that are given one by one.
#pragma once

#include "search/automaton.h"

namespace s2s {

// States are numbered level by level.
class Trie final : public Automaton {
 public:
  // Sequences in any order, also twice; an empty one is allowed. Throws std::invalid_argument for a negative
  // token.
  explicit Trie(std::vector<std::vector<int32_t>> sequences);

  int64_t size() const { return size_; }  // sequences

 private:
  int64_t size_ = 0;
};

}  // namespace s2s

#include "search/automaton.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace s2s {

Automaton::Automaton(std::vector<int64_t> begins, std::vector<int32_t> tokens, std::vector<int32_t> targets,
                     std::vector<bool> accepts)
    : begins_(std::move(begins)),
      tokens_(std::move(tokens)),
      targets_(std::move(targets)),
      accepts_(std::move(accepts)) {
  check();
}

void Automaton::check() {
  const auto require = [](bool holds, const std::string& expected) {
    if (!holds) throw std::invalid_argument("[Automaton] Expected " + expected + ".");
  };
  const auto edges = static_cast<int64_t>(tokens_.size());
  require(!accepts_.empty(), "at least one state");
  require(begins_.size() == accepts_.size() + 1 && begins_.front() == 0 && begins_.back() == edges &&
              std::ranges::is_sorted(begins_),
          "begins of " + std::to_string(accepts_.size() + 1) + " ascending numbers from 0 to the " +
              std::to_string(edges) + " edges");
  require(targets_.size() == tokens_.size(), "as many targets as tokens");
  for (const int32_t target : targets_) {
    require(target >= 0 && target < states(),
            "targets from 0 to " + std::to_string(states() - 1) + ", got " + std::to_string(target));
  }
  for (int64_t state = 0; state < states(); ++state) {
    int32_t before = -1;
    for (const int32_t token : this->tokens(state)) {
      require(token >= 0, "tokens of at least 0, got " + std::to_string(token));
      require(token > before, "tokens of each state in ascending order, each once, got " +
                                  std::to_string(token) + " after " + std::to_string(before));
      before = token;
    }
  }
  find_distinct();
}

void Automaton::find_distinct() {
  distinct_ = tokens_;
  std::ranges::sort(distinct_);
  distinct_.erase(std::unique(distinct_.begin(), distinct_.end()), distinct_.end());
}

int64_t Automaton::next(int64_t state, int32_t token) const {
  const auto edges = tokens(state);
  const auto found = std::ranges::lower_bound(edges, token);
  if (found == edges.end() || *found != token) return -1;
  return targets_[static_cast<size_t>(begins_[state] + (found - edges.begin()))];
}

int64_t Automaton::find(std::span<const int32_t> beginning) const {
  int64_t state = 0;
  for (size_t i = 0; i < beginning.size() && state >= 0; ++i) state = next(state, beginning[i]);
  return state;
}

}  // namespace s2s

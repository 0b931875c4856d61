// The buffers of a search, kept from call to call so that a warm search allocates nothing per step.
#pragma once

#include <cstdint>
#include <vector>

#include "search/history.h"
#include "search/phrases.h"
#include "search/processor.h"

namespace s2s {

// One entry per live hypothesis; those of a unit are adjacent, best first. A unit is one search for a source:
// the only one, or one of its samples, alternatives or groups (units_of), numbered source by source.
struct LiveRows {
  std::vector<int32_t> parents;  // row of the step before
  std::vector<int32_t> tokens;   // last token
  std::vector<int32_t> sources;
  std::vector<int32_t> units;
  std::vector<int64_t> nodes;  // in History
  std::vector<double> log_probs;
  std::vector<char> over;  // end_rule proceed: whether it has an end token

  int64_t size() const { return static_cast<int64_t>(nodes.size()); }
  void copy(int64_t from, int64_t to);
  void resize(int64_t rows);  // keeps the first ones
  void add(int32_t parent, int32_t token, int32_t source, int32_t unit, int64_t node, double log_prob,
           bool over = false);
};

struct SearchWorkspace {
  LiveRows live;
  LiveRows next;  // the live rows of the step to come, while it is being built
  History history;
  Ranking ranking;
  std::vector<int64_t> num_finished;  // [unit], those dropped from the ranking included
  std::vector<char> best_ended;       // [unit], whether the best continuation of some step ended
  std::vector<double> coverage;       // of a hypothesis
  std::vector<int64_t> told;          // [unit], the last node that the listener knows
  std::vector<int64_t> num_told;      // [unit], and how many it knows
  std::vector<int64_t> path;          // nodes that it is to know
  Processors processors;

  std::vector<float> candidate_log_probs;  // [rows, k]
  std::vector<int32_t> candidate_tokens;   // [rows, k]

  struct Head {  // the best candidate of a row that is not yet taken
    double log_prob;
    int64_t row;
    int64_t rank;
  };
  std::vector<Head> heads;  // heap of a unit's rows

  // end_rule stay: a unit's ended hypotheses of the steps before, and those of this one.
  std::vector<Ranking::Entry> stayed;
  struct Ended {
    int64_t node;
    double log_prob;
  };
  std::vector<Ended> ended;

  // end_rule proceed: whether each place of a unit's beam [unit, beam] has held one that had just ended.
  std::vector<char> places_ended;

  // must_contain: continuations of a unit's rows, those that live on, and the tokens of a hypothesis.
  std::vector<Continuation> continuations, picked;
  std::vector<int32_t> row_tokens;

  // Diverse beam search: candidates after what they lose to the groups before, and what these have chosen.
  std::vector<float> diverse_log_probs;  // [rows, k]
  std::vector<int32_t> diverse_tokens;   // [rows, k]
  std::vector<int32_t> chosen;

  // Sampling.
  struct Choice {
    int32_t token;
    float log_prob;
    double weight;  // probability after temperature, not normalised
  };
  std::vector<float> dense;  // one row
  std::vector<Choice> choices;
};

}  // namespace s2s

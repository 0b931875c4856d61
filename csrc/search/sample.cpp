#include "search/sample.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "math/philox.h"
#include "search/certain.h"
#include "search/step.h"

namespace s2s {

namespace {

using Choice = SearchWorkspace::Choice;

class Sampling {
 public:
  Sampling(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace)
      : stepper_(stepper), options_(options), workspace_(workspace), units_(units_of(options)) {}

  void run() {
    for (step_ = 0; workspace_.live.size() > 0; ++step_) {
      take();
      const LiveRows& live = workspace_.live;
      workspace_.next.resize(0);
      for (int64_t row = 0; row < live.size(); ++row) {
        prepare(row);
        const bool spreads = spread_step(options_, live.sources[row]) == step_;
        for (int64_t u = 0; u < (spreads ? units_ : 1); ++u) {
          advance(row, live.units[row] + static_cast<int32_t>(u));
        }
      }
      if (options_.listener) tell_certain(stepper_, options_, step_, workspace_);
      std::swap(workspace_.live, workspace_.next);
    }
  }

 private:
  void take() {
    if (options_.sampling_topk > 0) {
      k_ = std::min(stepper_.vocabulary(), options_.sampling_topk);
      take_step(stepper_, options_, step_, k_, workspace_);
    } else {
      take_dense_step(stepper_, options_, step_, workspace_);
      scores_ = stepper_.log_probs();
    }
  }

  // Fills workspace_.choices with what may follow this row, by token, and how probable it is.
  void prepare(int64_t row) {
    auto& choices = workspace_.choices;
    choices.clear();
    if (options_.sampling_topk > 0) {
      for (int64_t i = row * k_; i < (row + 1) * k_; ++i) {
        add(workspace_.candidate_tokens[i], workspace_.candidate_log_probs[i]);
      }
    } else {
      const int64_t V = stepper_.vocabulary();
      auto& dense = workspace_.dense;
      dense.assign(scores_ + row * V, scores_ + (row + 1) * V);
      // A NaN is told before a processor may forbid it.
      for (const float score : dense) check_score(score, workspace_.live.sources[row], step_);
      workspace_.processors.apply(row, dense);
      for (int64_t v = 0; v < V; ++v) add(static_cast<int32_t>(v), dense[v]);
    }
    if (choices.empty()) return;
    float top = choices.front().log_prob;
    for (const Choice& choice : choices) top = std::max(top, choice.log_prob);
    for (Choice& choice : choices) {
      choice.weight = std::exp((static_cast<double>(choice.log_prob) - static_cast<double>(top)) /
                               options_.sampling_temperature);
    }
    keep_nucleus();
    // The most probable has weight 1.
    std::erase_if(choices, [this](const Choice& choice) { return choice.weight < options_.min_p; });
    std::ranges::sort(choices, {}, &Choice::token);
    total_ = 0;
    for (const Choice& choice : choices) total_ += choice.weight;
  }

  void add(int32_t token, float log_prob) {
    if (!std::isinf(log_prob)) workspace_.choices.push_back({token, log_prob, 0.0});
  }

  // The most probable, of equals the lower token first, until they have sampling_topp of what there is.
  void keep_nucleus() {
    if (options_.sampling_topp >= 1) return;
    auto& choices = workspace_.choices;
    std::ranges::sort(choices, [](const Choice& a, const Choice& b) {
      return a.log_prob > b.log_prob || (a.log_prob == b.log_prob && a.token < b.token);
    });
    double all = 0, kept = 0;
    for (const Choice& choice : choices) all += choice.weight;
    size_t count = 0;
    while (count < choices.size() && (count == 0 || kept < options_.sampling_topp * all)) {
      kept += choices[count++].weight;
    }
    choices.resize(count);
  }

  void advance(int64_t row, int32_t unit) {
    const LiveRows& live = workspace_.live;
    const int32_t source = live.sources[row];
    if (workspace_.choices.empty()) {  // nothing may follow
      return rank(stepper_, options_, workspace_, source, unit, live.nodes[row], live.log_probs[row], step_,
                  false);
    }
    const Choice& drawn = draw(source, unit % units_);
    const int64_t node = workspace_.history.add(live.nodes[row], drawn.token, drawn.log_prob);
    const double log_prob = live.log_probs[row] + drawn.log_prob;
    const auto& end = options_.end_tokens;
    const bool finished = std::find(end.begin(), end.end(), drawn.token) != end.end();
    if (finished || step_ + 1 >= length_limit(options_, source)) {
      rank(stepper_, options_, workspace_, source, unit, node, log_prob, step_ + 1, finished);
    } else {
      workspace_.next.add(static_cast<int32_t>(row), drawn.token, source, unit, node, log_prob);
    }
  }

  const Choice& draw(int32_t source, int64_t n) const {
    const auto& choices = workspace_.choices;
    const int64_t sequence = options_.sequence_ids.empty() ? source : options_.sequence_ids[source];
    const double goal = sampling_number(options_.seed, sequence, n, step_) * total_;
    double before = 0;
    for (const Choice& choice : choices) {
      before += choice.weight;
      if (before > goal) return choice;
    }
    return choices.back();  // rounding left the goal out of reach
  }

  Stepper& stepper_;
  const SearchOptions& options_;
  SearchWorkspace& workspace_;
  const int64_t units_;  // samples of a source
  int64_t k_ = 0, step_ = 0;
  const float* scores_ = nullptr;  // [rows, vocabulary]
  double total_ = 0;               // of the choices' weights
};

}  // namespace

double sampling_number(uint64_t seed, int64_t sequence, int64_t n, int64_t step) {
  const auto id = static_cast<uint64_t>(sequence);
  const math::Philox words =
      math::philox<uint32_t>({{static_cast<uint32_t>(step), static_cast<uint32_t>(n),
                               static_cast<uint32_t>(id), static_cast<uint32_t>(id >> 32)}},
                             static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  const uint64_t bits = uint64_t{words.word[0]} << 32 | words.word[1];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

void sample(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace) {
  Sampling(stepper, options, workspace).run();
}

}  // namespace s2s

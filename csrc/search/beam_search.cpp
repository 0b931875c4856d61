#include "search/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "search/step.h"

namespace s2s {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

class BeamSearch {
 public:
  BeamSearch(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace)
      : stepper_(stepper),
        options_(options),
        workspace_(workspace),
        // This many of each row are enough: a later one comes after beam_size others of its row that live on.
        k_(std::min(stepper.vocabulary(),
                    options.beam_size + static_cast<int64_t>(options.end_tokens.size()))),
        enough_(enough_finished(options)) {}

  void run() {
    for (step_ = 0; workspace_.live.size() > 0; ++step_) {
      take_step(stepper_, options_, step_, k_, workspace_);
      const LiveRows& live = workspace_.live;
      workspace_.next.resize(0);
      for (int64_t begin = 0, end = 0; begin < live.size(); begin = end) {
        while (end < live.size() && live.sources[end] == live.sources[begin]) ++end;
        advance_source(begin, end);
      }
      std::swap(workspace_.live, workspace_.next);
    }
  }

 private:
  // One step of the source whose live hypotheses are these rows: their descendants in workspace_.next, or
  // none where the source stops.
  void advance_source(int64_t begin, int64_t end) {
    const int32_t source = workspace_.live.sources[begin];
    const int64_t next_begin = workspace_.next.size();
    select(source, begin, end);
    if (workspace_.next.size() == next_begin) {  // every continuation is an end, or nothing may follow
      for (int64_t row = begin; row < end; ++row) {
        if (candidate(row, 0) == kForbidden) rank(source, workspace_.live, row, step_);
      }
    } else if (step_ + 1 == options_.max_decoding_length) {
      for (int64_t row = next_begin; row < workspace_.next.size(); ++row) {
        rank(source, workspace_.next, row, step_ + 1);
      }
      workspace_.next.resize(next_begin);
    } else if (is_done(source, workspace_.next.log_probs[next_begin])) {
      workspace_.next.resize(next_begin);
    }
  }

  // Merges the rows' sorted continuations, best first, until the beam is full.
  void select(int32_t source, int64_t begin, int64_t end) {
    auto& heads = workspace_.heads;
    LiveRows& next = workspace_.next;
    const LiveRows& live = workspace_.live;
    const int64_t full = next.size() + options_.beam_size;

    heads.clear();
    for (int64_t row = begin; row < end; ++row) push(row, 0);
    for (int64_t place = 0; !heads.empty() && next.size() < full; ++place) {
      std::pop_heap(heads.begin(), heads.end(), ranks_after);
      const SearchWorkspace::Head head = heads.back();
      heads.pop_back();

      const int32_t token = workspace_.candidate_tokens[head.row * k_ + head.rank];
      const bool is_end = std::find(options_.end_tokens.begin(), options_.end_tokens.end(), token) !=
                          options_.end_tokens.end();
      if (!is_end || place < options_.beam_size) {
        const int64_t node =
            workspace_.history.add(live.nodes[head.row], token, candidate(head.row, head.rank));
        if (is_end) {
          ++workspace_.num_finished[source];
          workspace_.ranking.add(
              source, {node, head.log_prob, hypothesis_score(options_, head.log_prob, step_ + 1), true});
        } else {
          next.add(static_cast<int32_t>(head.row), token, source, node, head.log_prob);
        }
      }
      if (head.rank + 1 < k_) push(head.row, head.rank + 1);
    }
  }

  // A row's continuation enters the merge, unless it is forbidden.
  void push(int64_t row, int64_t rank) {
    const float score = candidate(row, rank);
    if (score == kForbidden) return;
    workspace_.heads.push_back({workspace_.live.log_probs[row] + score, row, rank});
    std::push_heap(workspace_.heads.begin(), workspace_.heads.end(), ranks_after);
  }

  static bool ranks_after(const SearchWorkspace::Head& a, const SearchWorkspace::Head& b) {
    return a.log_prob < b.log_prob || (a.log_prob == b.log_prob && a.row > b.row);
  }

  // Whether a source stops, the best of its live hypotheses having this log_prob.
  bool is_done(int32_t source, double live_log_prob) const {
    const int64_t finished = workspace_.num_finished[source];
    if (finished >= enough_) return true;
    if (finished < options_.num_hypotheses) return false;
    // No live hypothesis can gain probability, so that its score ends at most at the better of these two:
    // ended by the next token, or as late as may be (which is better depends on the sign of the length
    // penalty).
    const double bound = std::max(hypothesis_score(options_, live_log_prob, step_ + 2),
                                  hypothesis_score(options_, live_log_prob, options_.max_decoding_length));
    return bound <= workspace_.ranking.best(source).back().score;
  }

  // Ranks a live hypothesis of `length` tokens as an unfinished one.
  void rank(int32_t source, const LiveRows& rows, int64_t row, int64_t length) {
    const double log_prob = rows.log_probs[row];
    workspace_.ranking.add(source,
                           {rows.nodes[row], log_prob, hypothesis_score(options_, log_prob, length), false});
  }

  float candidate(int64_t row, int64_t rank) const { return workspace_.candidate_log_probs[row * k_ + rank]; }

  Stepper& stepper_;
  const SearchOptions& options_;
  SearchWorkspace& workspace_;
  const int64_t k_;  // continuations asked of each row
  const int64_t enough_;
  int64_t step_ = 0;  // tokens of every live hypothesis
};

}  // namespace

int64_t enough_finished(const SearchOptions& options) {
  const double beam = std::round(static_cast<double>(options.beam_size) * options.patience);
  if (beam >= static_cast<double>(std::numeric_limits<int64_t>::max())) {
    return std::numeric_limits<int64_t>::max();
  }
  return std::max(options.num_hypotheses, static_cast<int64_t>(beam));
}

void beam_search(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace) {
  BeamSearch(stepper, options, workspace).run();
}

}  // namespace s2s

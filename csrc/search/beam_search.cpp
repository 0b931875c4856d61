#include "search/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "search/certain.h"
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
        units_(units_of(options)),
        has_units_(units_ > 1 || options.return_alternatives),
        beam_(options.beam_size / options.num_beam_groups),
        k_(continuations(stepper, options)),
        wanted_(wanted_of_unit(options)),
        enough_(enough_finished(options)),
        stay_(options.end_rule == EndRule::stay),
        proceed_(options.end_rule == EndRule::proceed) {}

  void run() {
    if (proceed_) workspace_.places_ended.assign(workspace_.live.size() * units_ * beam_, 0);
    for (step_ = 0; workspace_.live.size() > 0; ++step_) {
      take_step(stepper_, options_, step_, k_, workspace_);
      const LiveRows& live = workspace_.live;
      workspace_.next.resize(0);
      dense_ = nullptr;
      int32_t source = -1;
      for (int64_t begin = 0, end = 0; begin < live.size(); begin = end) {
        if (live.sources[begin] != source) workspace_.chosen.clear();
        source = live.sources[begin];
        const int32_t unit = live.units[begin];
        while (end < live.size() && live.units[end] == unit) ++end;
        if (has_units_ && spread_step(options_, source) == step_) {
          spread(unit, begin, end);
        } else {
          advance_unit(unit, begin, end);
        }
      }
      if (options_.listener) tell_certain(stepper_, options_, step_, workspace_);
      std::swap(workspace_.live, workspace_.next);
    }
  }

 private:
  // This many continuations of each row are enough: a later one comes after beam_size others of its row that
  // live on, or that the groups before may have made worse.
  static int64_t continuations(const Stepper& stepper, const SearchOptions& options) {
    const auto ends = static_cast<int64_t>(options.end_tokens.size());
    const int64_t alternatives = options.return_alternatives ? options.num_hypotheses : 0;
    // So many may have a bank of their own, before beam_size others of a row that are all of the same.
    size_t wanted = 0;
    for (const auto& phrases : options.must_contain) {
      size_t tokens = 0;
      for (const auto& phrase : phrases) tokens += phrase.size();
      wanted = std::max(wanted, tokens);
    }
    return std::min(stepper.vocabulary(),
                    std::max(options.beam_size + ends + static_cast<int64_t>(wanted), alternatives));
  }

  // The row that a source's units have in common goes on in each of them.
  void spread(int32_t first_unit, int64_t begin, int64_t end) {
    if (options_.return_alternatives) return expand(first_unit, begin);
    for (int64_t u = 0; u < units_; ++u) advance_unit(first_unit + static_cast<int32_t>(u), begin, end);
  }

  // The best tokens that may follow this row begin an alternative each.
  void expand(int32_t first_unit, int64_t row) {
    use_candidates();
    const LiveRows& live = workspace_.live;
    const int32_t source = live.sources[row];
    if (live.over[row]) return;  // the prefix ended it, and it is ranked
    if (candidate(row, 0) == kForbidden) return rank_row(live, row, step_);
    for (int64_t a = 0; a < std::min(units_, k_); ++a) {
      const float score = candidate(row, a);
      if (score == kForbidden ||
          (a > 0 && std::exp(static_cast<double>(score)) < options_.min_alternative_expansion_prob)) {
        return;
      }
      const int32_t token = token_of(row, a), unit = first_unit + static_cast<int32_t>(a);
      const int64_t node = workspace_.history.add(live.nodes[row], token, score);
      const double log_prob = live.log_probs[row] + score;
      if (is_end(token) || step_ + 1 >= length_limit(options_, source)) {
        rank(stepper_, options_, workspace_, source, unit, node, log_prob, step_ + 1, is_end(token));
      } else {
        workspace_.next.add(static_cast<int32_t>(row), token, source, unit, node, log_prob);
      }
    }
  }

  // One step of the unit whose live hypotheses are these rows: their descendants in workspace_.next, or none
  // where the unit stops.
  void advance_unit(int32_t unit, int64_t begin, int64_t end) {
    const int32_t source = workspace_.live.sources[begin];
    const int64_t next_begin = workspace_.next.size();
    if (options_.num_beam_groups > 1 && !workspace_.chosen.empty()) {
      use_diverse_candidates(begin, end);
    } else {
      use_candidates();
    }
    if (divides(source)) {
      select_by_phrases(source, unit, begin, end);
    } else {
      select(source, unit, begin, end);
    }
    if (workspace_.next.size() == next_begin) {  // every continuation is an end, or nothing may follow
      for (int64_t row = begin; row < end; ++row) {
        if (candidate(row, 0) == kForbidden && !workspace_.live.over[row])
          rank_row(workspace_.live, row, step_, unit);
      }
    } else if (step_ + 1 >= length_limit(options_, source)) {
      for (int64_t row = next_begin; row < workspace_.next.size(); ++row) {
        if (!workspace_.next.over[row]) rank_row(workspace_.next, row, step_ + 1);
      }
      workspace_.next.resize(next_begin);
    } else if (is_done(source, unit, workspace_.next.log_probs[next_begin])) {
      workspace_.next.resize(next_begin);
    }
  }

  // Merges the rows' sorted continuations, best first, until the beam is full. Its places are those of the
  // continuations, ended or not, unless others take the places of the ended.
  void select(int32_t source, int32_t unit, int64_t begin, int64_t end) {
    auto& heads = workspace_.heads;
    LiveRows& next = workspace_.next;
    const LiveRows& live = workspace_.live;
    const int64_t full = next.size() + beam_;
    const bool replaces =
        options_.end_rule == EndRule::replace &&
        (options_.unfinished == Unfinished::last || step_ + 1 < length_limit(options_, source));
    const int64_t places =
        options_.end_rule == EndRule::shrink ? beam_ - workspace_.num_finished[unit] : beam_;
    auto& stayed = workspace_.stayed;
    size_t num_stayed = 0;
    if (stay_) {
      const auto ended_before = workspace_.ranking.best(unit);
      stayed.assign(ended_before.begin(), ended_before.end());
      workspace_.ended.clear();
    }

    heads.clear();
    for (int64_t row = begin; row < end; ++row) push(row, 0);
    int64_t place = 0;
    for (; !heads.empty() && (replaces ? next.size() < full : place < places); ++place) {
      if (stay_ && num_stayed < stayed.size() && stayed[num_stayed].score >= heads.front().log_prob) {
        ++num_stayed;
        continue;
      }
      std::pop_heap(heads.begin(), heads.end(), ranks_after);
      const SearchWorkspace::Head head = heads.back();
      heads.pop_back();

      const int32_t token = token_of(head.row, head.rank);
      const bool ends = is_end(token);
      if (proceed_) {
        proceed(source, unit, head, place);
      } else if (!ends || place < beam_) {
        const int64_t node =
            workspace_.history.add(live.nodes[head.row], token, candidate(head.row, head.rank));
        if (options_.num_beam_groups > 1) workspace_.chosen.push_back(token);
        if (ends) {
          if (place == 0) workspace_.best_ended[unit] = 1;
          end_at(source, unit, node, head.log_prob);
        } else {
          next.add(static_cast<int32_t>(head.row), token, source, unit, node, head.log_prob);
        }
      }
      if (head.rank + 1 < k_) push(head.row, head.rank + 1);
    }
    if (stay_) {
      const int64_t fit = std::min<int64_t>(num_stayed + places - place, static_cast<int64_t>(stayed.size()));
      workspace_.ranking.truncate(unit, fit);
      for (const auto& [node, log_prob] : workspace_.ended) {
        rank(stepper_, options_, workspace_, source, unit, node, log_prob, step_ + 1, true);
      }
    }
    // A place that nothing is left for counts as ended; a prefix leaves one.
    if (proceed_ && step_ >= spread_step(options_, source)) {
      std::fill_n(places_of(unit) + place, beam_ - place, char{1});
    }
  }

  bool divides(int32_t source) const {
    return !options_.must_contain.empty() && !options_.must_contain[source].empty() &&
           options_.num_beam_groups == 1 && beam_ > 1 && options_.end_rule == EndRule::replace;
  }

  // The same of continuations in the order of divide_beam(). Beside the best of each row these are the tokens
  // that its phrases want next.
  void select_by_phrases(int32_t source, int32_t unit, int64_t begin, int64_t end) {
    const auto& phrases = options_.must_contain[source];
    auto& all = workspace_.continuations;
    auto& tokens = workspace_.row_tokens;
    all.clear();
    for (int64_t row = begin; row < end; ++row) {
      workspace_.history.tokens(workspace_.live.nodes[row], step_, tokens);
      const auto wanted = phrase_progress(phrases, tokens).next;
      const size_t first = all.size();
      tokens.push_back(-1);
      const auto add = [&](int32_t token, float score) {
        tokens.back() = token;
        all.push_back({row, token, score, workspace_.live.log_probs[row] + score,
                       phrase_progress(phrases, tokens).needed});
      };
      for (int64_t i = 0; i < k_ && candidate(row, i) != kForbidden; ++i)
        add(token_of(row, i), candidate(row, i));
      const size_t best = all.size();
      if (best < first + static_cast<size_t>(k_)) continue;  // there are no others
      const auto& scores = processed(row);
      for (const int32_t token : wanted) {
        const auto same = [token](const Continuation& one) { return one.token == token; };
        if (std::any_of(all.begin() + first, all.begin() + best, same)) continue;
        const float score = scores[static_cast<size_t>(token)];
        check_score(score, source, step_);
        if (score != kForbidden) add(token, score);
      }
    }
    divide_beam(all);

    const bool last = options_.unfinished != Unfinished::last && step_ + 1 >= length_limit(options_, source);
    auto& picked = workspace_.picked;
    picked.clear();
    for (int64_t place = 0; place < static_cast<int64_t>(all.size()); ++place) {
      if (last ? place == beam_ : static_cast<int64_t>(picked.size()) == beam_) break;
      const Continuation& one = all[static_cast<size_t>(place)];
      if (!is_end(one.token)) {
        picked.push_back(one);
      } else if (place < beam_) {
        if (place == 0) workspace_.best_ended[unit] = 1;
        end_at(source, unit, workspace_.history.add(workspace_.live.nodes[one.row], one.token, one.score),
               one.log_prob);
      }
    }
    std::ranges::stable_sort(picked, std::ranges::greater{}, &Continuation::log_prob);
    for (const Continuation& one : picked) {
      const int64_t node = workspace_.history.add(workspace_.live.nodes[one.row], one.token, one.score);
      workspace_.next.add(static_cast<int32_t>(one.row), one.token, source, unit, node, one.log_prob);
    }
  }

  // The scores of all tokens in a row of this step, after the processors.
  const std::vector<float>& processed(int64_t row) {
    const int64_t V = stepper_.vocabulary();
    if (dense_ == nullptr) dense_ = stepper_.log_probs();
    workspace_.dense.assign(dense_ + row * V, dense_ + (row + 1) * V);
    workspace_.processors.apply(row, workspace_.dense);
    return workspace_.dense;
  }

  // A continuation with an end token.
  void end_at(int32_t source, int32_t unit, int64_t node, double log_prob) {
    if (options_.cap_finished && workspace_.num_finished[unit] >= enough_) return;
    ++workspace_.num_finished[unit];
    if (stay_) {
      workspace_.ended.push_back({node, log_prob});  // ranked once it is known which stay
    } else {
      rank(stepper_, options_, workspace_, source, unit, node, log_prob, step_ + 1, true);
    }
  }

  // A continuation lives on, whether it ends or has ended.
  void proceed(int32_t source, int32_t unit, const SearchWorkspace::Head& head, int64_t place) {
    const int32_t token = token_of(head.row, head.rank);
    const bool ends = is_end(token), over = workspace_.live.over[head.row];
    const int64_t node =
        workspace_.history.add(workspace_.live.nodes[head.row], token, candidate(head.row, head.rank));
    if (options_.num_beam_groups > 1) workspace_.chosen.push_back(token);
    if (ends) places_of(unit)[place] = 1;
    if (ends && !over) end_at(source, unit, node, head.log_prob);
    workspace_.next.add(static_cast<int32_t>(head.row), token, source, unit, node, head.log_prob,
                        ends || over);
  }

  char* places_of(int32_t unit) { return workspace_.places_ended.data() + unit * beam_; }

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

  // Whether a unit stops, the best of its live hypotheses having this log_prob.
  bool is_done(int32_t source, int32_t unit, double live_log_prob) {
    if (proceed_) return std::all_of(places_of(unit), places_of(unit) + beam_, [](char c) { return c != 0; });
    const auto best = workspace_.ranking.best(unit);
    const int64_t finished = stay_ ? static_cast<int64_t>(best.size()) : workspace_.num_finished[unit];
    if (finished < wanted_) return false;
    switch (options_.early_stopping) {
      case EarlyStopping::patience:
        if (finished >= enough_) return true;
        break;
      case EarlyStopping::first:
        if (workspace_.best_ended[unit]) return true;
        break;
      case EarlyStopping::heuristic:
        if (finished >= beam_ && hypothesis_score(options_, live_log_prob, step_ + 1, false) <=
                                     best[static_cast<size_t>(std::max(beam_, wanted_)) - 1].score) {
          return true;
        }
        break;
      case EarlyStopping::never:
        break;
    }
    // Under these a score may be above all that follows, or an ended hypothesis be lost.
    if (!options_.scorers.empty() || options_.word_penalty != 0 || stay_) return false;
    // No live hypothesis can gain probability, and coverage only costs, so that its score ends at most at the
    // better of these two: ended by the next token, or as late as may be (which is better depends on the sign
    // of the length penalty; in between it is no better than the better one, as what log_prob is divided by
    // only grows or only falls with the length).
    double bound = std::max(hypothesis_score(options_, live_log_prob, step_ + 2, true),
                            hypothesis_score(options_, live_log_prob, length_limit(options_, source), true));
    if (options_.unfinished == Unfinished::equal) {
      bound = std::max({bound, hypothesis_score(options_, live_log_prob, step_ + 1, false),
                        hypothesis_score(options_, live_log_prob, length_limit(options_, source), false)});
    } else if (options_.unfinished == Unfinished::unnormalized) {
      bound = std::max(bound, live_log_prob);
    }
    return bound <= best[static_cast<size_t>(wanted_) - 1].score;
  }

  // Ranks a live hypothesis of `length` tokens as an unfinished one.
  void rank_row(const LiveRows& rows, int64_t row, int64_t length) {
    rank_row(rows, row, length, rows.units[row]);
  }
  void rank_row(const LiveRows& rows, int64_t row, int64_t length, int32_t unit) {
    rank(stepper_, options_, workspace_, rows.sources[row], unit, rows.nodes[row], rows.log_probs[row],
         length, false);
  }

  void use_candidates() {
    log_probs_ = workspace_.candidate_log_probs.data();
    tokens_ = workspace_.candidate_tokens.data();
  }

  // The candidates of these rows less what they lose to the groups before, in order again. Those that the
  // model gave are enough: as many as were chosen before are left over where all of these lose their places.
  void use_diverse_candidates(int64_t begin, int64_t end) {
    workspace_.diverse_log_probs.resize(workspace_.candidate_log_probs.size());
    workspace_.diverse_tokens.resize(workspace_.candidate_tokens.size());
    auto& sorted = workspace_.choices;
    for (int64_t row = begin; row < end; ++row) {
      sorted.clear();
      for (int64_t i = row * k_; i < (row + 1) * k_; ++i) {
        const int32_t token = workspace_.candidate_tokens[i];
        const auto times = std::count(workspace_.chosen.begin(), workspace_.chosen.end(), token);
        const double loss = options_.diversity_penalty * static_cast<double>(times);
        sorted.push_back({token, workspace_.candidate_log_probs[i] - static_cast<float>(loss), 0.0});
      }
      std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
        return a.log_prob > b.log_prob || (a.log_prob == b.log_prob && a.token < b.token);
      });
      for (int64_t i = 0; i < k_; ++i) {
        workspace_.diverse_log_probs[row * k_ + i] = sorted[i].log_prob;
        workspace_.diverse_tokens[row * k_ + i] = sorted[i].token;
      }
    }
    log_probs_ = workspace_.diverse_log_probs.data();
    tokens_ = workspace_.diverse_tokens.data();
  }

  float candidate(int64_t row, int64_t rank) const { return log_probs_[row * k_ + rank]; }
  int32_t token_of(int64_t row, int64_t rank) const { return tokens_[row * k_ + rank]; }
  bool is_end(int32_t token) const {
    return std::find(options_.end_tokens.begin(), options_.end_tokens.end(), token) !=
           options_.end_tokens.end();
  }

  Stepper& stepper_;
  const SearchOptions& options_;
  SearchWorkspace& workspace_;
  const int64_t units_;  // of a source
  const bool has_units_;
  const int64_t beam_;  // of a unit
  const int64_t k_;     // continuations asked of each row
  const int64_t wanted_, enough_;
  const bool stay_, proceed_;
  const float* log_probs_ = nullptr;  // [rows, k]
  const int32_t* tokens_ = nullptr;
  const float* dense_ = nullptr;  // [rows, vocabulary] of this step, where they were asked for
  int64_t step_ = 0;              // tokens of every live hypothesis
};

}  // namespace

int64_t wanted_of_unit(const SearchOptions& options) {
  if (options.return_alternatives) return 1;
  if (options.num_beam_groups > 1) return options.beam_size / options.num_beam_groups;
  return options.num_hypotheses;
}

int64_t kept_of_unit(const SearchOptions& options) {
  const int64_t wanted = wanted_of_unit(options);
  if (options.end_rule == EndRule::stay) return options.beam_size / options.num_beam_groups;
  if (options.early_stopping != EarlyStopping::heuristic) return wanted;
  return std::max(wanted, options.beam_size / options.num_beam_groups);
}

int64_t enough_finished(const SearchOptions& options) {
  const double beam =
      std::round(static_cast<double>(options.beam_size / options.num_beam_groups) * options.patience);
  if (beam >= static_cast<double>(std::numeric_limits<int64_t>::max())) {
    return std::numeric_limits<int64_t>::max();
  }
  return std::max(wanted_of_unit(options), static_cast<int64_t>(beam));
}

void beam_search(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace) {
  BeamSearch(stepper, options, workspace).run();
}

}  // namespace s2s

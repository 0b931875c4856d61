#include "search/generate.h"

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "search/beam_search.h"
#include "search/fusion.h"
#include "search/greedy.h"
#include "search/sample.h"

namespace s2s {

namespace {

void start(int64_t num_sources, const SearchOptions& options, SearchWorkspace& workspace) {
  const int64_t units = units_of(options);
  workspace.history.reset(num_sources);
  workspace.ranking.reset(num_sources * units, samples(options) ? 1 : kept_of_unit(options));
  workspace.num_finished.assign(num_sources * units, 0);
  workspace.best_ended.assign(num_sources * units, 0);
  if (options.listener) {
    workspace.num_told.assign(num_sources * units, 0);
    workspace.told.resize(num_sources * units);
    for (int64_t unit = 0; unit < num_sources * units; ++unit) workspace.told[unit] = unit / units;
  }
  workspace.processors.reset(make_processors(options), workspace.history);
  workspace.live.resize(0);
  for (int32_t j = 0; j < num_sources; ++j) {
    workspace.live.add(j, options.start_token, j, j * static_cast<int32_t>(units), /*node=*/j, 0.0);
  }
}

// Of all a source's units, best first. Groups may have found the same.
std::vector<Ranking::Entry> best_of(int64_t source, const SearchOptions& options,
                                    const SearchWorkspace& workspace) {
  const int64_t units = units_of(options);
  std::vector<Ranking::Entry> all;
  for (int64_t unit = source * units; unit < (source + 1) * units; ++unit) {
    auto best = workspace.ranking.best(unit);
    // early_stopping may have kept more than are wanted.
    if (options.return_alternatives && !best.empty()) best = best.first(1);
    all.insert(all.end(), best.begin(), best.end());
  }
  if (units == 1) return all;
  std::ranges::stable_sort(all, Ranking::before);
  if (options.num_beam_groups == 1) return all;
  std::set<std::vector<int32_t>> seen;
  std::erase_if(all, [&](const Ranking::Entry& entry) {
    Hypothesis found = workspace.history.hypothesis(entry.node, entry.finished, -1);
    if (entry.finished) found.tokens.push_back(found.end_token);
    return !seen.insert(std::move(found.tokens)).second;
  });
  return all;
}

SearchResults collect(const Stepper& stepper, int64_t num_sources, const SearchOptions& options,
                      const SearchWorkspace& workspace) {
  SearchResults results(num_sources);
  for (int64_t source = 0; source < num_sources; ++source) {
    const int64_t source_length = options.return_attention ? stepper.source_length(source) : -1;
    for (const Ranking::Entry& entry : best_of(source, options, workspace)) {
      if (static_cast<int64_t>(results[source].size()) == options.num_hypotheses) break;
      Hypothesis hypothesis = workspace.history.hypothesis(entry.node, entry.finished, source_length);
      hypothesis.log_prob = entry.log_prob;
      hypothesis.score = entry.score;
      results[source].push_back(std::move(hypothesis));
    }
  }
  return results;
}

bool is_greedy(const SearchOptions& o) {
  if (o.beam_size > 1 || o.return_alternatives) return false;
  return o.early_stopping == EarlyStopping::first ||
         (o.early_stopping == EarlyStopping::patience && enough_finished(o) == 1);
}

SearchResults search(Stepper& stepper, int64_t num_sources, const SearchOptions& options,
                     SearchWorkspace& workspace) {
  start(num_sources, options, workspace);
  if (samples(options)) {
    sample(stepper, options, workspace);
  } else if (is_greedy(options)) {
    greedy_search(stepper, options, workspace);
  } else {
    beam_search(stepper, options, workspace);
  }
  return collect(stepper, num_sources, options, workspace);
}

}  // namespace

SearchResults generate(Stepper& stepper, int64_t num_sources, const SearchOptions& options,
                       SearchWorkspace& workspace) {
  validate(options, stepper.vocabulary());
  if (num_sources < 0 || num_sources > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("[search] Expected between 0 and 2147483647 sources, got " +
                                std::to_string(num_sources) + ".");
  }
  validate_sources(options, stepper.vocabulary(), num_sources);
  if (num_sources * units_of(options) > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("[search] Expected fewer than 2^31 hypotheses in all.");
  }
  if (!options.scorers.empty()) {
    FusedStepper fused(stepper, options, num_sources);
    return search(fused, num_sources, options, workspace);
  }
  return search(stepper, num_sources, options, workspace);
}

SearchResults generate(Stepper& stepper, int64_t num_sources, const SearchOptions& options) {
  SearchWorkspace workspace;
  return generate(stepper, num_sources, options, workspace);
}

}  // namespace s2s

#include "search/generate.h"

#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "search/beam_search.h"
#include "search/greedy.h"

namespace s2s {

namespace {

void start(int64_t num_sources, const SearchOptions& options, SearchWorkspace& workspace) {
  workspace.history.reset(num_sources);
  workspace.ranking.reset(num_sources, options.num_hypotheses);
  workspace.num_finished.assign(num_sources, 0);
  workspace.processors.reset(make_processors(options), workspace.history);
  workspace.live.resize(0);
  for (int32_t j = 0; j < num_sources; ++j) workspace.live.add(j, options.start_token, j, /*node=*/j, 0.0);
}

SearchResults collect(const Stepper& stepper, int64_t num_sources, const SearchOptions& options,
                      const SearchWorkspace& workspace) {
  SearchResults results(num_sources);
  for (int64_t source = 0; source < num_sources; ++source) {
    const int64_t source_length = options.return_attention ? stepper.source_length(source) : -1;
    for (const Ranking::Entry& entry : workspace.ranking.best(source)) {
      Hypothesis hypothesis = workspace.history.hypothesis(entry.node, entry.finished, source_length);
      hypothesis.log_prob = entry.log_prob;
      hypothesis.score = entry.score;
      results[source].push_back(std::move(hypothesis));
    }
  }
  return results;
}

}  // namespace

SearchResults generate(Stepper& stepper, int64_t num_sources, const SearchOptions& options,
                       SearchWorkspace& workspace) {
  validate(options, stepper.vocabulary());
  if (num_sources < 0 || num_sources > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("[search] Expected between 0 and 2147483647 sources, got " +
                                std::to_string(num_sources) + ".");
  }
  start(num_sources, options, workspace);
  if (options.beam_size == 1 && enough_finished(options) == 1) {
    greedy_search(stepper, options, workspace);
  } else {
    beam_search(stepper, options, workspace);
  }
  return collect(stepper, num_sources, options, workspace);
}

SearchResults generate(Stepper& stepper, int64_t num_sources, const SearchOptions& options) {
  SearchWorkspace workspace;
  return generate(stepper, num_sources, options, workspace);
}

}  // namespace s2s

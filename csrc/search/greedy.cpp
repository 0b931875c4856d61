#include "search/greedy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "search/certain.h"
#include "search/step.h"

namespace s2s {

void greedy_search(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace) {
  LiveRows& live = workspace.live;
  LiveRows& next = workspace.next;
  const auto& end = options.end_tokens;

  for (int64_t step = 0; live.size() > 0; ++step) {
    take_step(stepper, options, step, 1, workspace);
    next.resize(0);
    for (int64_t row = 0; row < live.size(); ++row) {
      const int32_t source = live.sources[row];
      const float score = workspace.candidate_log_probs[row];
      if (std::isinf(score)) {  // nothing may follow
        rank(stepper, options, workspace, source, source, live.nodes[row], live.log_probs[row], step, false);
        continue;
      }
      const int32_t token = workspace.candidate_tokens[row];
      const int64_t node = workspace.history.add(live.nodes[row], token, score);
      const double log_prob = live.log_probs[row] + score;
      const bool finished = std::find(end.begin(), end.end(), token) != end.end();
      if (finished || step + 1 >= length_limit(options, source)) {
        rank(stepper, options, workspace, source, source, node, log_prob, step + 1, finished);
      } else {
        next.add(static_cast<int32_t>(row), token, source, source, node, log_prob);
      }
    }
    if (options.listener) tell_certain(stepper, options, step, workspace);
    std::swap(live, next);
  }
}

}  // namespace s2s

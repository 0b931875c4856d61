#include "search/step.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace s2s {

namespace {

void keep_attention(Stepper& stepper, SearchWorkspace& workspace) {
  int64_t stride = 0;
  const float* weights = stepper.attention(&stride);
  if (weights == nullptr) {
    throw std::invalid_argument("[search] return_attention was asked of a model that has no attention.");
  }
  const LiveRows& live = workspace.live;
  for (int64_t row = 0; row < live.size(); ++row) {
    workspace.history.add_attention(live.nodes[row], weights + row * stride,
                                    stepper.source_length(live.sources[row]));
  }
}

}  // namespace

void take_step(Stepper& stepper, const SearchOptions& options, int64_t step, int64_t k,
               SearchWorkspace& workspace) {
  const LiveRows& live = workspace.live;
  const int64_t rows = live.size();

  workspace.candidate_log_probs.resize(rows * k);
  workspace.candidate_tokens.resize(rows * k);
  workspace.processors.begin_step(step, live.nodes.data(), live.sources.data());
  stepper.advance(live.parents.data(), live.tokens.data(), rows);
  stepper.candidates(rows, k, workspace.processors, workspace.candidate_log_probs.data(),
                     workspace.candidate_tokens.data());
  for (int64_t i = 0; i < rows * k; ++i) {
    const float score = workspace.candidate_log_probs[i];
    if (!(score < std::numeric_limits<float>::infinity())) {  // NaN too
      throw std::runtime_error("[search] A score of source " + std::to_string(live.sources[i / k]) + " is " +
                               (std::isnan(score) ? "NaN" : "infinite") + " at step " + std::to_string(step) +
                               ".");
    }
  }
  if (options.return_attention) keep_attention(stepper, workspace);
}

}  // namespace s2s

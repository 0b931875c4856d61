#include "search/step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/interrupt.h"

namespace s2s {

namespace {

void keep_attention(Stepper& stepper, bool return_attention, SearchWorkspace& workspace) {
  int64_t stride = 0;
  const float* weights = stepper.attention(&stride);
  if (weights == nullptr) {
    throw std::invalid_argument(std::string("[search] ") +
                                (return_attention ? "return_attention" : "coverage_penalty") +
                                " was asked of a model that has no attention.");
  }
  const LiveRows& live = workspace.live;
  for (int64_t row = 0; row < live.size(); ++row) {
    workspace.history.add_attention(live.nodes[row], weights + row * stride,
                                    stepper.source_length(live.sources[row]));
  }
}

// How much a hypothesis loses for what it has left out of its source, or dwelt on.
double coverage_loss(const SearchOptions& options, const std::vector<double>& coverage) {
  double loss = 0;
  for (const double c : coverage) {
    if (options.coverage_penalty_type == CoveragePenalty::summary) {
      loss += std::max(c, 1.0) - 1.0;
    } else if (c > 0) {
      loss -= std::log(std::min(c, 1.0));
    }
  }
  return options.coverage_penalty * loss;
}

}  // namespace

void check_score(float score, int32_t source, int64_t step) {
  if (score < std::numeric_limits<float>::infinity()) return;  // not NaN either
  throw std::runtime_error("[search] A score of source " + std::to_string(source) + " is " +
                           (std::isnan(score) ? "NaN" : "infinite") + " at step " + std::to_string(step) +
                           ".");
}

void take_dense_step(Stepper& stepper, const SearchOptions& options, int64_t step,
                     SearchWorkspace& workspace) {
  check_interrupt();
  const LiveRows& live = workspace.live;
  workspace.processors.begin_step(step, live.nodes.data(), live.sources.data());
  stepper.advance(live.parents.data(), live.tokens.data(), live.size());
  if (keeps_attention(options)) keep_attention(stepper, options.return_attention, workspace);
}

void take_step(Stepper& stepper, const SearchOptions& options, int64_t step, int64_t k,
               SearchWorkspace& workspace) {
  check_interrupt();
  const LiveRows& live = workspace.live;
  const int64_t rows = live.size();

  workspace.candidate_log_probs.resize(rows * k);
  workspace.candidate_tokens.resize(rows * k);
  workspace.processors.begin_step(step, live.nodes.data(), live.sources.data());
  stepper.advance(live.parents.data(), live.tokens.data(), rows);
  stepper.candidates(rows, k, workspace.processors, workspace.candidate_log_probs.data(),
                     workspace.candidate_tokens.data());
  for (int64_t i = 0; i < rows * k; ++i) {
    check_score(workspace.candidate_log_probs[i], live.sources[i / k], step);
  }
  if (keeps_attention(options)) keep_attention(stepper, options.return_attention, workspace);
}

int64_t spread_step(const SearchOptions& options, int32_t source) {
  return options.target_prefix.empty() ? 0 : static_cast<int64_t>(options.target_prefix[source].size());
}

void rank(const Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace, int32_t source,
          int32_t unit, int64_t node, double log_prob, int64_t length, bool finished) {
  double score = finished || options.unfinished != Unfinished::unnormalized
                     ? hypothesis_score(options, log_prob, length, finished)
                     : log_prob;
  if (options.coverage_penalty > 0) {
    const bool all = !finished || options.coverage_end_token;
    workspace.history.coverage(all ? node : workspace.history.parent(node), stepper.source_length(source),
                               workspace.coverage);
    score -= coverage_loss(options, workspace.coverage);
  }
  workspace.ranking.add(
      unit, {node, log_prob, score, finished, !finished && options.unfinished == Unfinished::last});
}

}  // namespace s2s

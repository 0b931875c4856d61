// What greedy and beam search have in common: one step of the model for all live rows.
#pragma once

#include <cstdint>

#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

// Advances the stepper to workspace.live and writes the k best continuations of every row to
// workspace.candidate_log_probs and candidate_tokens; keeps the attention if it is asked for. Throws
// std::runtime_error where a score is NaN.
void take_step(Stepper& stepper, const SearchOptions& options, int64_t step, int64_t k,
               SearchWorkspace& workspace);

// The same without candidates: afterwards stepper.log_probs() are those of workspace.live.
void take_dense_step(Stepper& stepper, const SearchOptions& options, int64_t step,
                     SearchWorkspace& workspace);

// Throws std::runtime_error where a score is NaN or +infinity.
void check_score(float score, int32_t source, int64_t step);

// The step at which a source's one live row becomes that of all its units: 0, or behind its prefix.
int64_t spread_step(const SearchOptions& options, int32_t source);

// Ranks the hypothesis that ends at `node` among those of its unit; `length`: the terms of log_prob.
void rank(const Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace, int32_t source,
          int32_t unit, int64_t node, double log_prob, int64_t length, bool finished);

}  // namespace s2s

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

}  // namespace s2s

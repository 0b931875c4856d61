// Sampling: every hypothesis is drawn token by token, as SearchOptions says.
#pragma once

#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

// Expects workspace.live to hold one row per source, and ranks one hypothesis of each unit: the source's
// samples.
void sample(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace);

// The number in [0, 1), with 53 bits, by which token `step` of sample n of a sequence is drawn.
double sampling_number(uint64_t seed, int64_t sequence, int64_t n, int64_t step);

}  // namespace s2s

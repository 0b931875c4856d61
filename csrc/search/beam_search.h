// Beam search, as generate.h describes it.
#pragma once

#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

// Expects workspace.live to hold one row per source and ranks the hypotheses of each.
void beam_search(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace);

// How many finished hypotheses end the search of a source.
int64_t enough_finished(const SearchOptions& options);

}  // namespace s2s

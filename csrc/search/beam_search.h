// Beam search, as generate.h describes it.
#pragma once

#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

// Expects workspace.live to hold one row per source and ranks the hypotheses of each.
void beam_search(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace);

// Of each unit (workspace.h): how many hypotheses it is to find, how many it keeps, and how many finished
// ones end its search.
int64_t wanted_of_unit(const SearchOptions& options);
int64_t kept_of_unit(const SearchOptions& options);
int64_t enough_finished(const SearchOptions& options);

}  // namespace s2s

// Greedy search: every source takes its best continuation until that is an end token.
#pragma once

#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

// Expects workspace.live to hold one row per source and ranks one hypothesis for each. Equal to beam_search
// with a beam of 1 and patience 1, without what a beam needs.
void greedy_search(Stepper& stepper, const SearchOptions& options, SearchWorkspace& workspace);

}  // namespace s2s

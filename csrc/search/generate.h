// The search for output sequences of a batch: greedy for a beam of 1, else beam search, or samples.
//
// Beam search. At every step the continuations of a source's live hypotheses are ranked by log_prob (of
// equals the hypothesis that ranked higher before, then the lower token). Those among the first beam_size
// that end with an end token are finished; the first beam_size that do not are the next live ones.
// SearchOptions says when a source stops.
//
// Nothing of a source's result depends on the other sources. Finished sources leave the batch.
//
// A source may have several such searches, its units: diverse groups or alternatives, ranked together at the
// end. Samples are drawn as search/sample.h says.
//
// There are between 1 and num_hypotheses results per source: finished ones first, each kind by descending
// score, of equals the one found first. A live hypothesis that nothing may follow (all scores -infinity) is
// dropped while others live, and where none does returned as unfinished. So there are fewer results than
// num_hypotheses only where the vocabulary and what is forbidden admit no more.
#pragma once

#include <cstdint>
#include <vector>

#include "search/hypothesis.h"
#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

using SearchResults = std::vector<std::vector<Hypothesis>>;  // [source][rank]

// Throws std::invalid_argument on bad options and std::runtime_error where a score is NaN or +infinity.
SearchResults generate(Stepper& stepper, int64_t num_sources, const SearchOptions& options);

// The same with buffers kept by the caller: once warm, the loop over time allocates nothing. One call at a
// time.
SearchResults generate(Stepper& stepper, int64_t num_sources, const SearchOptions& options,
                       SearchWorkspace& workspace);

}  // namespace s2s

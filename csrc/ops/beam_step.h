// beam_step: one step of the beam search of many sources: of every live row's best continuations the next
// live rows, by the rules of search/beam_search.cpp. A beam of one is greedy search. A source has `beam`
// rows; the first live[s] of them live, best first. The others are computed along and never looked at: they
// continue the source's first row with an end token. What belongs to the rows of a source that lives on moves
// along with them. Once no source lives, a step does nothing.
#pragma once

#include "core/tensor.h"

namespace s2s {

// An array whose rows follow their hypotheses: to[r] = from[parents[r]].
struct RowMove {
  const float* from;  // [sources * beam, width]
  float* to;          // likewise; another array
  int64_t width;
};

struct BeamStepArgs {
  int64_t sources, beam, k;
  int64_t num_hypotheses, enough, min_length, max_length;  // as in search/options.h
  const float* log_probs;                                  // [sources * beam, k] descending; -infinity: none
  const int32_t* columns;     // [sources * beam, k]; -1 in the first place: the row's scores are not numbers
  const int32_t* vocabulary;  // the token of each column, or null: the column itself
  const int32_t* end_tokens;  // [ends]
  int64_t ends;
  const double* scales;  // [max_length + 2] length ** length_penalty, of length 0: 1

  int32_t* step;      // [1] steps done, one more afterwards; minus that number once no source lives, for good
  int32_t* done;      // [1] out: the same, where the host reads it too
  int32_t* arrived;   // [1] scratch, zero before the first step
  int32_t* live;      // [sources]
  int32_t* finished;  // [sources] hypotheses that have ended
  double* sums;       // [sources * beam] each live row's log-probability
  double* best;       // [sources, num_hypotheses] scores of the best that have ended, descending
  int32_t* parents;   // [sources * beam] out: the row that each next row continues
  int32_t* tokens;    // [sources * beam] out: by which token
  double* scratch;    // [sources * beam]
  int32_t* ranks;     // [sources * beam] scratch
  // What was given, kept for a search on the host to replay: [max_length, 2, sources * beam, k], of each step
  // the log-probabilities and then the columns, as int32.
  float* kept;

  const RowMove* moves;  // [move_count], where the rest lies
  int64_t move_count;
};

namespace ops {
void beam_step(const BeamStepArgs& args, Device device);
}
}  // namespace s2s

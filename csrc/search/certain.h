// What is certain while a search still runs: the tokens that all hypotheses which may still be a source's
// best begin with. With one live hypothesis each token is certain at once; with more, the common beginning of
// all live ones and of the best finished one.
#pragma once

#include <cstdint>

#include "search/options.h"
#include "search/stepper.h"
#include "search/workspace.h"

namespace s2s {

struct CertainToken {
  int32_t source;
  int32_t hypothesis;  // which sample of the source; else 0
  int64_t place;       // in the hypothesis
  int32_t token;       // a finished one's end token is told, too
  float log_prob;
  bool is_last;  // of the hypothesis; told of none where nothing may follow the one before
};

class Listener {
 public:
  virtual ~Listener() = default;
  // Called for each token as soon as it is certain, in the order of places. true: the hypothesis ends here,
  // and is unfinished.
  virtual bool hear(const CertainToken& token) = 0;
};

// Tells options.listener what has become certain in a step that took workspace.live to workspace.next, and
// takes those out of next that it ends.
void tell_certain(const Stepper& stepper, const SearchOptions& options, int64_t step,
                  SearchWorkspace& workspace);

}  // namespace s2s

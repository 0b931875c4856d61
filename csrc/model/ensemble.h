// Several networks that answer as one: what one hears of a step is the mean of what each says. They read the
// same sources and have the same target vocabulary; all else may differ.
#pragma once

#include <memory>
#include <vector>

#include "model/network.h"
#include "model/stepper.h"
#include "model/workspace.h"

namespace s2s::model {

enum class EnsembleMean {
  probability,      // log (1/M sum_m P_m), as fairseq and OpenNMT have it
  log_probability,  // 1/M sum_m log P_m, as Marian has it: not normalised again
};

using Networks = std::vector<std::shared_ptr<Network>>;

// Throws std::invalid_argument unless there is one, and they fit together.
void check_ensemble(const Networks& networks);

// As Network::generate and Network::score; one workspace for each network.
SearchResults generate(const Networks& networks, EnsembleMean mean, const Source& source,
                       SearchOptions options, std::vector<DecodeWorkspace>& workspaces);
Tensor score(const Networks& networks, EnsembleMean mean, const Source& source, const Target& target);

}  // namespace s2s::model

// A search whose loop runs on the device: step after step without a word from the host, which afterwards gets
// every step's continuations and replays the search on them. So a result is by construction the one that the
// search of search/ gives for these continuations.
#pragma once

#include <memory>

#include "model/network.h"
#include "model/workspace.h"

namespace s2s::model {

// Whether such a loop does what is asked, of so many sources and columns of the output layer.
bool runs_on_device(const SearchOptions& options, int64_t sources, int64_t columns);

SearchResults search_on_device(const Network& network, const std::shared_ptr<const PackedNetwork>& packed,
                               const Source& source, const SearchOptions& options,
                               DecodeWorkspace& workspace);

}  // namespace s2s::model

// Translator: a network that serves many callers. So many batches are computed at once as there are slots; a
// slot has a thread pool and the buffers of a search, which stay warm from call to call. Further callers
// wait.
#pragma once

#include <memory>

#include "core/slots.h"
#include "core/thread_pool.h"
#include "model/network.h"
#include "model/workspace.h"
#include "ops/stream.h"

namespace s2s::model {

class Translator {
 public:
  // Takes the network over: from here on it has its packed weights only, and nobody else may change it.
  Translator(std::shared_ptr<Network> network, int64_t inter_threads, int intra_threads);

  const Network& network() const { return *network_; }
  SearchResults generate(const Source& source, SearchOptions options);
  // -log p of every target token, [sum T] in the caller's order.
  Tensor score(const Source& source, const Target& target);

  // Batches that wait for a slot, and batches that wait or are computed.
  int64_t queued() { return slots_.waiting(); }
  int64_t active() { return slots_.active(); }

 private:
  struct Slot {
    Slot(int threads, Device device) : pool(threads), stream(device) {}
    ThreadPool pool;
    Stream stream;  // outlives what the workspace has in it
    DecodeWorkspace workspace;
  };

  std::shared_ptr<Network> network_;
  Slots<Slot> slots_;
};

}  // namespace s2s::model

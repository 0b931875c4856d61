// Translator: a network, or an ensemble of some, that serves many callers. So many batches are computed at
// once as there are slots; a slot has a thread pool and the buffers of a search, which stay warm from call to
// call. Further callers wait.
#pragma once

#include <memory>

#include "core/slots.h"
#include "core/thread_pool.h"
#include "model/ensemble.h"
#include "model/session.h"
#include "ops/stream.h"

namespace s2s::model {

class Translator {
 public:
  // Takes the networks over: from here on they have their packed weights only, and nobody else may change
  // them.
  Translator(Networks networks, EnsembleMean mean, int64_t inter_threads, int intra_threads);

  // The first.
  const Network& network() const { return *networks_[0]; }
  SearchResults generate(const Source& source, SearchOptions options);
  // -log p of every target token, [sum T] in the caller's order.
  Tensor score(const Source& source, const Target& target);

  // A decoder at work on these sources, one step at a time and apart from the slots. Throws
  // std::invalid_argument for an ensemble.
  std::unique_ptr<Session> start(const Source& source);

  // Batches that wait for a slot, and batches that wait or are computed.
  int64_t queued() { return slots_.waiting(); }
  int64_t active() { return slots_.active(); }

 private:
  struct Slot {
    Slot(int threads, Device device, size_t networks) : pool(threads), stream(device), workspaces(networks) {}
    ThreadPool pool;
    Stream stream;  // outlives what the workspaces have in it
    std::vector<DecodeWorkspace> workspaces;
  };

  Networks networks_;
  EnsembleMean mean_;
  Slots<Slot> slots_;
};

}  // namespace s2s::model

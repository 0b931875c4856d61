#include "model/translator.h"

#include <utility>

#include "core/memory.h"

namespace s2s::model {

Translator::Translator(std::shared_ptr<Network> network, int64_t inter_threads, int intra_threads)
    : network_(std::move(network)), slots_(inter_threads, [intra_threads, device = network_->device()] {
        return std::make_unique<Slot>(intra_threads, device);
      }) {
  network_->keep_packed_only();
  release_memory();  // what the parameters took is the system's again
}

SearchResults Translator::generate(const Source& source, SearchOptions options) {
  const Slots<Slot>::Lease slot(slots_);
  const ThreadPool::Scope threads(slot->pool);
  const Stream::Scope stream(slot->stream);
  return network_->generate(source, std::move(options), slot->workspace);
}

Tensor Translator::score(const Source& source, const Target& target) {
  const Slots<Slot>::Lease slot(slots_);
  const ThreadPool::Scope threads(slot->pool);
  const Stream::Scope stream(slot->stream);
  return network_->score(source, target);
}

}  // namespace s2s::model

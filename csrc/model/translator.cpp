#include "model/translator.h"

#include <utility>

#include "core/error.h"
#include "core/memory.h"

namespace s2s::model {

Translator::Translator(Networks networks, EnsembleMean mean, int64_t inter_threads, int intra_threads)
    : networks_((check_ensemble(networks), std::move(networks))),
      mean_(mean),
      slots_(inter_threads, [intra_threads, device = network().device(), count = networks_.size()] {
        return std::make_unique<Slot>(intra_threads, device, count);
      }) {
  for (const auto& network : networks_) network->keep_packed_only();
  release_memory();  // what the parameters took is the system's again
}

SearchResults Translator::generate(const Source& source, SearchOptions options) {
  const Slots<Slot>::Lease slot(slots_);
  const ThreadPool::Scope threads(slot->pool);
  const Stream::Scope stream(slot->stream);
  return model::generate(networks_, mean_, source, std::move(options), slot->workspaces);
}

std::unique_ptr<Session> Translator::start(const Source& source) {
  check("start", networks_.size() == 1, "Expected a translator of one model, got one of ", networks_.size(),
        ".");
  return std::make_unique<Session>(networks_[0], source, source.lengths.size(), /*grows=*/true);
}

Tensor Translator::score(const Source& source, const Target& target) {
  const Slots<Slot>::Lease slot(slots_);
  const ThreadPool::Scope threads(slot->pool);
  const Stream::Scope stream(slot->stream);
  return model::score(networks_, mean_, source, target);
}

}  // namespace s2s::model

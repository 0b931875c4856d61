#include "model/workspace.h"

#include <algorithm>

#include "model/network.h"

namespace s2s::model {

void StepBuffers::reserve(const Decoder& decoder, const Config& config, int64_t count, int64_t longest) {
  if (count > room) {
    room = 0;  // until all is there
    rows = decoder.make_rows(count, 0, {}, false);
    initial = decoder.make_states(count);
    written = decoder.make_states(count);
    parents = Tensor::host({count}, DType::i32);
    previous_example = Tensor::host({count}, DType::i32);
    if (config.input_feeding) feed = Tensor::empty({count, config.feed_width()});
    room = count;
  }
  if (!config.attends()) return;
  rows.weights = matrix_in(weights_memory, count, longest);
  if (!config.tracks_attention()) return;
  rows.covered.sum = matrix_in(covered_memory, count, longest);
  next_covered = matrix_in(next_covered_memory, count, longest);
  if (!places_memory.defined() || places_memory.size() < count * longest) {
    places_memory = Tensor::host({count * longest}, DType::i32);
  }
  rows.covered.places = places_memory.rows(0, count * longest).reshape({count, longest});
}

const Shortlist& Shortlist::of_vocabulary(const std::shared_ptr<const PackedNetwork>& packed,
                                          std::span<const int32_t> vocabulary) {
  if (of.lock() != packed || !std::ranges::equal(ids, vocabulary)) {
    of.reset();  // until all is there
    ids.assign(vocabulary.begin(), vocabulary.end());
    output = Output::columns(packed->output, ids);
    of = packed;
  }
  return *this;
}

}  // namespace s2s::model

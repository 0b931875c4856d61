#include "model/workspace.h"

#include <algorithm>

#include "model/network.h"

namespace s2s::model {

void StepBuffers::reserve(const Decoder& decoder, const Config& config, int64_t count, int64_t longest) {
  if (count > room) {
    room = count;
    rows = decoder.make_rows(count, 0, {}, false);
    initial = decoder.make_states(count);
    written = decoder.make_states(count);
    parents = Tensor::host({count}, DType::i32);
    previous_example = Tensor::host({count}, DType::i32);
    if (config.input_feeding) feed = Tensor::empty({count, config.feed_width()});
  }
  if (!config.attends()) return;
  const auto wide = [&](Tensor& memory, DType dtype, Device device) {
    if (!memory.defined() || memory.size() < count * longest) {
      memory = Tensor::empty({count * longest}, dtype, device);
    }
    return memory.rows(0, count * longest).reshape({count, longest});
  };
  rows.weights = wide(weights_memory, DType::f32, current_device());
  if (!config.coverage) return;
  rows.covered.sum = wide(covered_memory, DType::f32, current_device());
  next_covered = wide(next_covered_memory, DType::f32, current_device());
  rows.covered.places = wide(places_memory, DType::i32, Device::cpu());
}

const Shortlist& Shortlist::of_vocabulary(const std::shared_ptr<const PackedNetwork>& packed,
                                          std::span<const int32_t> vocabulary) {
  if (of.lock() != packed || !std::ranges::equal(ids, vocabulary)) {
    ids.assign(vocabulary.begin(), vocabulary.end());
    output = Output::columns(packed->output, ids);
    of = packed;
  }
  return *this;
}

}  // namespace s2s::model

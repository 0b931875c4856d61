#include "model/ctc_head.h"

#include <algorithm>

#include "ops/ctc.h"

namespace s2s::model {
namespace {

constexpr const char* kName = "encoder.ctc";

// Without the end tokens.
ops::CtcTargets labels_of(const Target& target, int32_t eos) {
  const int64_t N = target.lengths.size();
  ops::CtcTargets labels{{}, Tensor::host({N}, DType::i32)};
  std::vector<int32_t> all;
  const int32_t* id = target.ids.i32();
  for (int64_t n = 0; n < N; ++n) {
    const int32_t length = target.lengths.i32()[n];
    const int32_t kept = length > 0 && id[length - 1] == eos ? length - 1 : length;
    labels.lengths.i32()[n] = kept;
    all.insert(all.end(), id, id + kept);
    id += length;
  }
  labels.labels = to_tensor(all);
  return labels;
}

}  // namespace

void CtcHead::declare(Parameters& all, const Config& config) {
  if (config.ctc_weight > 0.0f)
    Linear::declare(all, kName, config.target_vocab_size + 1, config.memory_width());
}

CtcHead::CtcHead(const Parameters& all, const Config& config) : config_(config) {
  if (config.ctc_weight > 0.0f) linear_ = Linear(all, kName);
}

Tensor CtcHead::logits(const ops::Packed& packed, const Memory& memory) const {
  const Tensor z = Tensor::empty({memory.states.dim(0), classes()});
  linear_.forward(packed, memory.states, z, Activation::none, config_.encoder_stack().bounded());
  return z;
}

double CtcHead::loss(const ops::Packed& packed, const Memory& memory, const Target& target,
                     const Memory* dmemory) const {
  const int64_t N = memory.sequences();
  const Tensor z = logits(packed, memory), losses = Tensor::empty({N}),
               dz = dmemory ? Tensor::empty(z.shape()) : Tensor();
  const float scale = config_.ctc_weight / static_cast<float>(target.ids.size());
  ops::ctc_loss(z, memory.offsets, labels_of(target, config_.eos_id),
                static_cast<int32_t>(config_.target_vocab_size), true, scale, losses, dz);
  if (dmemory) {
    linear_.add_gradients(memory.states, dz);
    ops::matmul(dz, linear_.pack_backward(), dmemory->states, {.accumulate = true});
  }
  const Tensor host = losses.to(Device::cpu());
  double sum = 0.0;
  for (int64_t n = 0; n < N; ++n) sum += double{host.f32()[n]};
  return double{config_.ctc_weight} * sum;
}

}  // namespace s2s::model

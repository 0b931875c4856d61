#include "model/output.h"

#include <algorithm>

#include "ops/cross_entropy.h"

namespace s2s::model {
namespace {
constexpr int64_t kChunk = 1 << 23;  // logits kept at a time; part of the gradients' summation order
}

void Output::declare(Parameters& all, const Config& c) {
  if (!c.tie_output) all.add("decoder.output.weight", {c.target_vocab_size, c.attentional_width()}, true);
  all.add("decoder.output.bias", {c.target_vocab_size}, false);
}

Output::Output(const Parameters& all, const Config& config)
    : linear_(parameter(all, config.tie_output ? "decoder.embedding.weight" : "decoder.output.weight"),
              parameter(all, "decoder.output.bias")) {}

LossSums Output::loss(const ops::Packed& packed, const Tensor& attentional, const Tensor& targets,
                      float smoothing, const Tensor& nll, const Tensor& dattentional) const {
  const int64_t R = attentional.dim(0), V = packed.shape.n;
  const int64_t chunk = std::clamp<int64_t>(kChunk / V, 1, R);
  const bool train = dattentional.defined();
  const ops::Packed packed_backward = train ? linear_.pack_backward() : ops::Packed{};
  const Tensor logits = Tensor::empty({chunk, V}), losses = Tensor::empty({R}),
               best = Tensor::empty({R}, DType::i32);
  const Tensor nlls = nll.defined() ? nll : Tensor::empty({R});
  for (int64_t begin = 0; begin < R; begin += chunk) {
    const int64_t count = std::min(chunk, R - begin);
    const Tensor a = attentional.rows(begin, count), z = logits.rows(0, count);
    linear_.forward(packed, a, z);
    ops::cross_entropy({count, V, z.f32(), targets.i32() + begin, -1, smoothing, 1.0f / static_cast<float>(R),
                        losses.f32() + begin, nlls.f32() + begin, best.i32() + begin,
                        train ? z.f32() : nullptr});
    if (!train) continue;
    ops::matmul(z, packed_backward, dattentional.rows(begin, count));
    linear_.add_gradients(a, z);
  }
  LossSums sums;
  sums.tokens = R;
  for (int64_t r = 0; r < R; ++r) {
    sums.loss += double{losses.f32()[r]};
    sums.nll += double{nlls.f32()[r]};
    sums.correct += best.i32()[r] == targets.i32()[r];
  }
  return sums;
}

}  // namespace s2s::model

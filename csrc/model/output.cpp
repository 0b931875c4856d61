#include "model/output.h"

#include <algorithm>

#include "model/rows.h"
#include "ops/cross_entropy.h"
#include "ops/pack_columns.h"
#include "ops/project_topk.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {
constexpr int64_t kChunk = 1 << 23;  // logits kept at a time; part of the gradients' summation order
constexpr const char* kBias = "decoder.output.bias";

const char* weight_name(const Config& config) {
  return config.tie_output ? "decoder.embedding.weight" : "decoder.output.weight";
}

// [R, 1] as [R].
Tensor column(const Tensor& t) {
  return t.defined() ? t.reshape({t.size()}) : t;
}

}  // namespace

void Output::declare(Parameters& all, const Config& c) {
  if (!c.tie_output) all.add(weight_name(c), {c.target_vocab_size, c.attentional_width()}, true);
  all.add(kBias, {c.target_vocab_size}, false);
}

Output::Output(const Parameters& all, const Config& config)
    : linear_(parameter(all, weight_name(config)), parameter(all, kBias)), bias_(all.value(kBias)) {}

Output::Packed Output::columns(const Packed& packed, const std::vector<int32_t>& ids) {
  const Tensor index = to_tensor(ids), bias = Tensor::empty({index.size(), 1});
  ops::gather_rows(packed.bias.reshape({packed.bias.size(), 1}), index, bias);
  return {ops::pack_columns(packed.weight, index), bias.reshape({index.size()})};
}

void Output::logits(const Packed& packed, const Tensor& attentional, const Tensor& logits) {
  ops::matmul(attentional, packed.weight, logits, {.bias = packed.bias, .bounded = true});
}

void Output::best(const Packed& packed, const Tensor& attentional, const Tensor& log_probs,
                  const Tensor& columns) {
  ops::project_topk(attentional, true, packed.weight, packed.bias, log_probs, columns);
}

LossSums Output::loss(const Packed& packed, const Tensor& attentional, const CopyRows* copying,
                      const Tensor& targets, float smoothing, const Tensor& nll, const Tensor& dattentional,
                      float share) const {
  const int64_t R = attentional.dim(0), V = packed.weight.shape.n;
  const int64_t chunk = std::clamp<int64_t>(kChunk / V, 1, R);
  const bool train = dattentional.defined();
  const ops::Packed packed_backward = train ? linear_.pack_backward() : ops::Packed{};
  const Device device = attentional.device();
  const Tensor chunk_logits = Tensor::empty({chunk, V}), losses = Tensor::empty({R}),
               best = Tensor::empty({R}, DType::i32), expected = targets.to(device);
  const Tensor nlls = nll.defined() ? nll : Tensor::empty({R});
  for (int64_t begin = 0; begin < R; begin += chunk) {
    const int64_t count = std::min(chunk, R - begin);
    const Tensor a = attentional.rows(begin, count), z = chunk_logits.rows(0, count);
    logits(packed, a, z);
    const float scale = share / static_cast<float>(R);
    if (copying) {
      const CopyRows c = copying->slice(begin, count);
      ops::copy_cross_entropy(c.source, z, column(c.gate), c.mass, expected.rows(begin, count), smoothing,
                              scale, losses.rows(begin, count), nlls.rows(begin, count),
                              best.rows(begin, count), train ? z : Tensor(), column(c.dgate), c.dweights);
    } else {
      ops::cross_entropy(
          {count, V, z.f32(), expected.i32() + begin, -1, smoothing, scale, losses.f32() + begin,
           nlls.f32() + begin, best.i32() + begin, train ? z.f32() : nullptr},
          device);
    }
    if (!train) continue;
    const Tensor dz = ops::left_factor(z);
    ops::matmul(dz, packed_backward, dattentional.rows(begin, count));
    linear_.add_gradients(a, dz);
  }
  LossSums sums;
  sums.tokens = R;
  const Tensor loss_of = losses.to(Device::cpu()), nll_of = nlls.to(Device::cpu()),
               best_of = best.to(Device::cpu());
  for (int64_t r = 0; r < R; ++r) {
    sums.loss += double{loss_of.f32()[r]};
    sums.nll += double{nll_of.f32()[r]};
    sums.correct += best_of.i32()[r] == targets.i32()[r];
  }
  return sums;
}

}  // namespace s2s::model

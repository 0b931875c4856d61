// One pass over the flat buffer in blocks of kMaskBlock elements, split over threads.
#include "ops/optimizers.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"
#include "math/optimizers.h"

namespace s2s::S2S_ISA {
namespace {

static_assert(kMaskBlock % kLanes == 0);

// Calls f(first element, lanes, weight decay) for each vector that is not frozen.
template <class F>
S2S_INLINE void for_parameters(int64_t count, const uint8_t* mask, double weight_decay, const F& f) {
  const int64_t blocks = (count + kMaskBlock - 1) / kMaskBlock;
  parallel(count < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(blocks, part, parts);
    for (int64_t b = range.begin; b < range.end; ++b) {
      if (mask && (mask[b] & kMaskFrozen)) continue;
      const Vec decay = splat(!mask || (mask[b] & kMaskDecay) ? static_cast<float>(weight_decay) : 0.0f);
      const int64_t end = (b + 1) * kMaskBlock < count ? (b + 1) * kMaskBlock : count;
      for (int64_t i = b * kMaskBlock; i < end; i += kLanes) f(i, lanes_left(end, i), decay);
    }
  });
}

Vec vec(double x) {
  return splat(static_cast<float>(x));
}

}  // namespace

void adam(const AdamArgs& x) {
  const auto adam = math::adam_rates<Vec>(x.lr, x.beta1, x.beta2, x.eps, x.step, x.decoupled);
  for_parameters(x.count, x.mask, x.weight_decay, [&](int64_t i, int lanes, Vec decay) {
    Vec param = load(x.param + i, lanes), m = load(x.m + i, lanes), v = load(x.v + i, lanes);
    math::adam_unit(adam, decay, param, load(x.grad + i, lanes), m, v);
    store(x.param + i, param, lanes);
    store(x.m + i, m, lanes);
    store(x.v + i, v, lanes);
  });
}

void sgd(const SgdArgs& x) {
  const math::Sgd<Vec> sgd{vec(x.lr), vec(x.momentum), x.buffer != nullptr, x.nesterov, x.first};
  for_parameters(x.count, x.mask, x.weight_decay, [&](int64_t i, int lanes, Vec decay) {
    Vec param = load(x.param + i, lanes), buffer = x.buffer ? load(x.buffer + i, lanes) : splat(0.0f);
    math::sgd_unit(sgd, decay, param, load(x.grad + i, lanes), buffer);
    store(x.param + i, param, lanes);
    if (x.buffer) store(x.buffer + i, buffer, lanes);
  });
}

void adagrad(const AdagradArgs& x) {
  const math::Adagrad<Vec> adagrad{vec(x.lr), vec(x.eps)};
  for_parameters(x.count, x.mask, x.weight_decay, [&](int64_t i, int lanes, Vec decay) {
    Vec param = load(x.param + i, lanes), sum = load(x.sum + i, lanes);
    math::adagrad_unit(adagrad, decay, param, load(x.grad + i, lanes), sum);
    store(x.param + i, param, lanes);
    store(x.sum + i, sum, lanes);
  });
}

void average(const AverageArgs& x) {
  const Vec weight = vec(x.weight);
  for_parameters(x.count, nullptr, 0.0, [&](int64_t i, int lanes, Vec) {
    Vec average = load(x.average + i, lanes);
    math::average_unit(weight, average, load(x.param + i, lanes));
    store(x.average + i, average, lanes);
  });
}

}  // namespace s2s::S2S_ISA

// Rows are split over threads; a row is read three times (maximum, sum of exponentials, gradient) and stays
// in the cache.
#include "ops/cross_entropy.h"

#include "core/threads.h"
#include "cpu/detail/classes.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

void fill_zero(float* x, int64_t width) {
  for (int64_t i = 0; i < width; ++i) x[i] = 0.0f;
}

void one_row(const CrossEntropyArgs& x, int64_t r) {
  const float* logits = x.logits + r * x.classes;
  float* gradient = x.dlogits ? x.dlogits + r * x.classes : nullptr;
  const int32_t target = x.targets[r];
  if (target == x.ignore_index) {
    x.losses[r] = 0.0f;
    if (x.nll) x.nll[r] = 0.0f;
    if (x.best) x.best[r] = -1;
    if (gradient) fill_zero(gradient, x.classes);
    return;
  }
  const float top = row_max(logits, x.classes);
  const float total = sum_exp(logits, x.classes, top);
  const float log_total = math::log(total);
  const float nll = math::negative_log_likelihood(logits[target], top, log_total);
  float loss = nll;
  if (x.smoothing != 0.0f) {
    loss = math::smoothed_loss(nll, x.smoothing, mean_below(logits, x.classes, top), log_total);
  }
  x.losses[r] = loss;
  if (x.nll) x.nll[r] = nll;
  if (x.best) x.best[r] = first_at_least(logits, x.classes, top);
  if (!gradient) return;
  const auto rates = math::cross_entropy_rates(x.scale, x.smoothing, total, x.classes);
  write_gradient(logits, x.classes, top, rates, target, gradient);
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& x) {
  parallel(x.rows * x.classes < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

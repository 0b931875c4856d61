// Rows are split over threads; a row's logits are read as in cross_entropy.cpp, its source's places one by
// one.
#include "ops/copy.h"

#include "core/threads.h"
#include "cpu/detail/classes.h"
#include "cpu/table.h"
#include "math/copy.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kSerialWork = 1 << 14;  // elements below which one thread does all

struct Places {
  const int32_t *copies, *first;
  int64_t length;
};

Places places_of(const CopySource& source, int64_t row) {
  const int64_t n = source.example[row], begin = source.offsets[n];
  return {source.copies + begin, source.first + begin, source.offsets[n + 1] - begin};
}

void mass_of_row(const CopyMassArgs& x, int64_t row) {
  const Places places = places_of(x.source, row);
  const float* weights = x.weights + row * x.stride;
  float* mass = x.mass + row * x.stride;
  for (int64_t s = 0; s < x.stride; ++s) mass[s] = 0.0f;
  for (int64_t s = 0; s < places.length; ++s) mass[places.first[s]] += weights[s];
}

int32_t most_probable(const Places& places, const float* logits, const float* mass, int64_t classes,
                      float gate, float top, float total) {
  int32_t best = first_at_least(logits, classes, top);
  if (best < 0) return best;
  const float copied = math::sigmoid(gate), generated = math::sigmoid(-gate) / total;
  float highest = generated;  // of the best that is generated only: exp(top - top)
  for (int64_t s = 0; s < places.length; ++s) {
    const int32_t id = places.copies[s];
    const float q = id < classes ? generated * math::exp(logits[id] - top) : 0.0f;
    const float p = math::fma(copied, mass[s], q);
    if (p > highest || (p == highest && id < best)) {
      highest = p;
      best = id;
    }
  }
  return best;
}

void loss_of_row(const CopyCrossEntropyArgs& x, int64_t r) {
  const Places places = places_of(x.source, r);
  const float* logits = x.logits + r * x.classes;
  const float* mass = x.mass + r * x.stride;
  const int32_t target = x.targets[r];
  const float gate = x.gate[r];
  float copied = 0.0f;
  for (int64_t s = 0; s < places.length; ++s) copied += places.copies[s] == target ? mass[s] : 0.0f;

  const float top = row_max(logits, x.classes);
  const float total = sum_exp(logits, x.classes, top);
  const float log_total = math::log(total);
  const float log_q =
      target < x.classes ? -math::negative_log_likelihood(logits[target], top, log_total) : -__builtin_inff();
  const math::CopyTerms terms = math::copy_terms(gate, log_q, copied);
  x.losses[r] = x.smoothing != 0.0f ? math::smoothed_loss(terms.nll, x.smoothing,
                                                          mean_below(logits, x.classes, top), log_total)
                                    : terms.nll;
  x.nll[r] = terms.nll;
  x.best[r] = most_probable(places, logits, mass, x.classes, gate, top, total);
  if (!x.dlogits) return;

  const math::CopyRates rates = math::copy_rates(x.scale, x.smoothing, total, x.classes, gate, terms);
  x.dgate[r] = rates.dgate;
  float* dweights = x.dweights + r * x.stride;
  for (int64_t s = 0; s < x.stride; ++s) {
    dweights[s] = s < places.length && places.copies[s] == target ? rates.dweight : 0.0f;
  }
  write_gradient(logits, x.classes, top, rates.logits, target, x.dlogits + r * x.classes);
}

void log_probs_of_row(const CopyLogSoftmaxArgs& x, int64_t r) {
  const Places places = places_of(x.source, r);
  const float* mass = x.mass + r * x.stride;
  float* row = x.x + r * x.width;
  const float gate = x.gate[r], top = row_max(row, x.classes);
  const float log_total = math::log(sum_exp(row, x.classes, top));
  const Vec shift = splat(top), below = splat(log_total - math::log_sigmoid(-gate));
  for (int64_t i = 0; i < x.classes; i += kLanes) {
    const int lanes = lanes_left(x.classes, i);
    store(row + i, math::log_softmax(load(row + i, lanes), shift, below), lanes);
  }
  for (int64_t i = x.classes; i < x.width; ++i) row[i] = -__builtin_inff();
  for (int64_t s = 0; s < places.length; ++s) {
    float& p = row[places.copies[s]];
    p = math::log_add(p, math::log_copied(gate, mass[s]));
  }
}

}  // namespace

void copy_mass(const CopyMassArgs& x) {
  parallel(x.rows * x.stride < kSerialWork ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) mass_of_row(x, r);
  });
}

void copy_cross_entropy(const CopyCrossEntropyArgs& x) {
  parallel(x.rows * x.classes < kSerialWork ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) loss_of_row(x, r);
  });
}

void copy_log_softmax(const CopyLogSoftmaxArgs& x) {
  parallel(x.rows * x.width < kSerialWork ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) log_probs_of_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

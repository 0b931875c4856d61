// What losses over classes need of a row of logits.
#pragma once

#include "cpu/detail/reduce.h"

namespace s2s::S2S_ISA {
namespace {

// The mean of top - x: small terms.
[[maybe_unused]] float mean_below(const float* x, int64_t width, float top) {
  Vec sum = splat(0.0f);
  for (int64_t i = 0; i < width; i += kLanes)
    sum = sum + (splat(top) - load(x + i, lanes_left(width, i), top));
  return sum_lanes(sum) / static_cast<float>(width);
}

// Of the largest element: its lowest index.
int32_t first_at_least(const float* x, int64_t width, float value) {
  for (int64_t i = 0; i < width; ++i) {
    if (x[i] >= value) return static_cast<int32_t>(i);
  }
  return -1;  // the row holds NaN
}

// The gradient of a row of logits, which may take their place; a target past the last class is none of them.
[[maybe_unused]] void write_gradient(const float* logits, int64_t classes, float top,
                                     math::CrossEntropyRates rates, int32_t target, float* gradient) {
  const Vec shift = splat(top), factor = splat(rates.factor), off = splat(rates.off);
  for (int64_t i = 0; i < classes; i += kLanes) {
    const int lanes = lanes_left(classes, i);
    store(gradient + i, math::cross_entropy_gradient(load(logits + i, lanes), shift, factor, off), lanes);
  }
  if (target < classes) gradient[target] -= rates.hit;
}

}  // namespace
}  // namespace s2s::S2S_ISA

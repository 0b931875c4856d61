// Sums and softmax over one row. The order of each sum depends only on the row's length and the vector's
// width.
#pragma once

#include "cpu/vec.h"
#include "math/softmax.h"

namespace s2s::S2S_ISA {
namespace {

[[maybe_unused]] float dot(const float* x, const float* y, int64_t width) {
  Vec sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    for (int v = 0; v < 4; ++v) sum[v] = fma(load(x + i + v * kLanes), load(y + i + v * kLanes), sum[v]);
  }
  for (; i < width; i += kLanes) {
    const int lanes = lanes_left(width, i);
    sum[0] = fma(load(x + i, lanes), load(y + i, lanes), sum[0]);
  }
  return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// A NaN is passed over; it comes out of sum_exp.
[[maybe_unused]] float row_max(const float* x, int64_t width) {
  const float lowest = -__builtin_inff();
  Vec best = splat(lowest);
  for (int64_t i = 0; i < width; i += kLanes) best = maximum(load(x + i, lanes_left(width, i), lowest), best);
  return max_lanes(best);
}

// The sum of exp(x - shift).
[[maybe_unused]] float sum_exp(const float* x, int64_t width, float shift) {
  const Vec by = splat(shift);
  Vec sum[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    for (int v = 0; v < 2; ++v) sum[v] = sum[v] + math::exp(load(x + i + v * kLanes) - by);
  }
  for (; i < width; i += kLanes)
    sum[0] = sum[0] + math::exp(load(x + i, lanes_left(width, i), -__builtin_inff()) - by);
  return sum_lanes(sum[0] + sum[1]);
}

// y = softmax(x) or log softmax(x); y may be x.
[[maybe_unused]] void softmax_row(const float* x, float* y, int64_t width, bool log) {
  const float top = row_max(x, width);
  const float total = sum_exp(x, width, top);
  const Vec shift = splat(top);
  if (log) {
    const Vec log_total = splat(math::log(total));
    for (int64_t i = 0; i < width; i += kLanes) {
      const int lanes = lanes_left(width, i);
      store(y + i, math::log_softmax(load(x + i, lanes), shift, log_total), lanes);
    }
  } else {
    const Vec inverse = splat(1.0f / total);
    for (int64_t i = 0; i < width; i += kLanes) {
      const int lanes = lanes_left(width, i);
      store(y + i, math::softmax(load(x + i, lanes), shift, inverse), lanes);
    }
  }
}

}  // namespace
}  // namespace s2s::S2S_ISA

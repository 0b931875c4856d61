// Rows are split over threads. The variance is that of x - mean, from a second pass: it does not cancel.
#include "ops/layer_norm.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"
#include "math/layer_norm.h"

namespace s2s::S2S_ISA {
namespace {

// The sum of f(column, lanes) over a row; lanes past the width have to be 0.
template <class F>
S2S_INLINE float sum_row(int64_t width, const F& f) {
  Vec sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    for (int v = 0; v < 4; ++v) sum[v] = sum[v] + f(i + v * kLanes, kLanes);
  }
  for (; i < width; i += kLanes) sum[0] = sum[0] + f(i, lanes_left(width, i));
  return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

struct Statistics {
  float mean, inverse_deviation;
};

S2S_INLINE Statistics statistics_of(const float* x, int64_t width, float eps) {
  const float mean =
      sum_row(width, [&](int64_t i, int lanes) { return load(x + i, lanes); }) / static_cast<float>(width);
  const float squares = sum_row(width, [&](int64_t i, int lanes) {
    const Vec d = load(x + i, lanes, mean) - splat(mean);
    return d * d;
  });
  return {mean, math::inverse_deviation(squares, width, eps)};
}

void one_row(const LayerNormArgs& x, int64_t r) {
  const float* from = x.x + r * x.x_stride;
  float* to = x.y + r * x.y_stride;
  const Statistics s = statistics_of(from, x.width, x.eps);
  const Vec mean = splat(s.mean), inverse = splat(s.inverse_deviation);
  for (int64_t i = 0; i < x.width; i += kLanes) {
    const int lanes = lanes_left(x.width, i);
    store(to + i,
          math::layer_norm(load(from + i, lanes), mean, inverse, load(x.weight + i, lanes),
                           load(x.bias + i, lanes)),
          lanes);
  }
}

void one_row_backward(const LayerNormBackwardArgs& x, int64_t r) {
  const float *from = x.x + r * x.x_stride, *dy = x.dy + r * x.dy_stride;
  float *dx = x.dx + r * x.dx_stride, *dweight = x.dweight + r * x.width;
  const Statistics s = statistics_of(from, x.width, x.eps);
  const Vec mean = splat(s.mean), inverse = splat(s.inverse_deviation);
  const auto scaled = [&](int64_t i, int lanes) { return load(dy + i, lanes) * load(x.weight + i, lanes); };
  const auto normal = [&](int64_t i, int lanes) {
    return math::normalized(load(from + i, lanes), mean, inverse);
  };
  const float count = static_cast<float>(x.width);
  const Vec mean_g = splat(sum_row(x.width, scaled) / count),
            mean_gx = splat(
                sum_row(x.width, [&](int64_t i, int lanes) { return scaled(i, lanes) * normal(i, lanes); }) /
                count);
  for (int64_t i = 0; i < x.width; i += kLanes) {
    const int lanes = lanes_left(x.width, i);
    const Vec n = normal(i, lanes), g = scaled(i, lanes);
    store(dweight + i, load(dy + i, lanes) * n, lanes);
    store(dx + i, math::layer_norm_backward(n, g, mean_g, mean_gx, inverse), lanes);
  }
}

}  // namespace

void layer_norm(const LayerNormArgs& x) {
  parallel(x.rows * x.width < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& x) {
  parallel(x.rows * x.width < (1 << 13) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row_backward(x, r);
  });
}

}  // namespace s2s::S2S_ISA

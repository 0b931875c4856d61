// A warp has a row, a block a wide one (detail/row.h). Passes over a row find it in the cache.
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "math/layer_norm.h"
#include "ops/layer_norm.h"

namespace s2s::cuda {
namespace {

// The sum of the quads f(column) of a row; elements past the width have to be 0.
template <int THREADS, class F>
__device__ __forceinline__ float sum_row(int64_t width, const F& f) {
  float sum = 0.0f;
  for (int64_t c = kQuad * (threadIdx.x % THREADS); c < width; c += kQuad * THREADS) {
    const float4 q = f(c);
    sum += (q.x + q.y) + (q.z + q.w);
  }
  return group_sum<THREADS>(sum);
}

struct Statistics {
  float mean, inverse_deviation;
};

template <int THREADS>
__device__ __forceinline__ Statistics statistics_of(const float* x, int64_t width, float eps, bool aligned) {
  const float mean =
      sum_row<THREADS>(width, [&](int64_t c) { return load_quad(x + c, width - c, aligned); }) /
      static_cast<float>(width);
  const float squares = sum_row<THREADS>(width, [&](int64_t c) {
    float4 q = load_quad(x + c, width - c, aligned, mean);
    each([&](float& v) { v = (v - mean) * (v - mean); }, q);
    return q;
  });
  return {mean, math::inverse_deviation(squares, width, eps)};
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>) layer_norm_rows(LayerNormArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const float* from = x.x + r * x.x_stride;
  float* to = x.y + r * x.y_stride;
  const Statistics s = statistics_of<THREADS>(from, x.width, x.eps, aligned);
  for (int64_t c = kQuad * (threadIdx.x % THREADS); c < x.width; c += kQuad * THREADS) {
    const int64_t left = x.width - c;
    float4 q = load_quad(from + c, left, aligned), w = load_quad(x.weight + c, left, aligned),
           b = load_quad(x.bias + c, left, aligned);
    each(
        [&](float& v, float& wv, float& bv) { v = math::layer_norm(v, s.mean, s.inverse_deviation, wv, bv); },
        q, w, b);
    store_quad(to + c, q, left, aligned);
  }
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>)
    layer_norm_backward_rows(LayerNormBackwardArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const float *from = x.x + r * x.x_stride, *dy = x.dy + r * x.dy_stride;
  float *dx = x.dx + r * x.dx_stride, *dweight = x.dweight + r * x.width;
  const Statistics s = statistics_of<THREADS>(from, x.width, x.eps, aligned);
  const auto scaled = [&](int64_t c) {
    float4 g = load_quad(dy + c, x.width - c, aligned), w = load_quad(x.weight + c, x.width - c, aligned);
    each([](float& gv, float& wv) { gv *= wv; }, g, w);
    return g;
  };
  const auto normal = [&](int64_t c) {
    float4 q = load_quad(from + c, x.width - c, aligned);
    each([&](float& v) { v = math::normalized(v, s.mean, s.inverse_deviation); }, q);
    return q;
  };
  const float count = static_cast<float>(x.width);
  const float mean_g = sum_row<THREADS>(x.width, scaled) / count;
  const float mean_gx = sum_row<THREADS>(x.width,
                                         [&](int64_t c) {
                                           float4 g = scaled(c), n = normal(c);
                                           each([](float& gv, float& nv) { gv *= nv; }, g, n);
                                           return g;
                                         }) /
                        count;
  for (int64_t c = kQuad * (threadIdx.x % THREADS); c < x.width; c += kQuad * THREADS) {
    const int64_t left = x.width - c;
    float4 g = scaled(c), n = normal(c), d = load_quad(dy + c, left, aligned);
    each(
        [&](float& gv, float& nv, float& dv) {
          dv *= nv;
          gv = math::layer_norm_backward(nv, gv, mean_g, mean_gx, s.inverse_deviation);
        },
        g, n, d);
    store_quad(dweight + c, d, left, aligned);
    store_quad(dx + c, g, left, aligned);
  }
}

}  // namespace

void layer_norm(const LayerNormArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole =
      aligned(x.x, x.x_stride) && aligned(x.y, x.y_stride) && aligned(x.weight) && aligned(x.bias);
  with_threads(x.width, [&]<int THREADS>() {
    launch(layer_norm_rows<THREADS>, launch_rows<THREADS>(x.rows), x, whole);
  });
}

void layer_norm_backward(const LayerNormBackwardArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.x, x.x_stride) && aligned(x.weight) && aligned(x.dy, x.dy_stride) &&
                     aligned(x.dx, x.dx_stride) && aligned(x.dweight, x.width);
  with_threads(x.width, [&]<int THREADS>() {
    launch(layer_norm_backward_rows<THREADS>, launch_rows<THREADS>(x.rows), x, whole);
  });
}

}  // namespace s2s::cuda

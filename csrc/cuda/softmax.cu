// A warp has a row, a block a wide one (detail/row.h). The second pass over a row finds it in the cache.
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "math/softmax.h"
#include "ops/softmax.h"

namespace s2s::cuda {
namespace {

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>) softmax_rows(SoftmaxArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const Row<THREADS> row(x.x + r * x.width, x.width, aligned);
  const auto [top, total] = row.top_and_total();
  const float shift = top, log_total = math::log(total), inverse = 1.0f / total;
  float* y = x.y + r * x.width;
  row.for_quads([&](int c, float4 q) {
    each(
        [&](float& v) {
          v = x.log ? math::log_softmax(v, shift, log_total) : math::softmax(v, shift, inverse);
        },
        q);
    store_quad(y + c, q, row.width() - c, aligned);
  });
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>)
    softmax_backward_rows(SoftmaxBackwardArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const Row<THREADS> row(x.dy + r * x.width, x.width, aligned);
  const float* y = x.y + r * x.width;
  float* dx = x.dx + r * x.width;
  float sum = 0.0f;
  row.for_quads([&](int c, float4 d) {
    const int left = row.width() - c;
    float4 p = {1.0f, 1.0f, 1.0f, 1.0f};
    if (!x.log) p = load_quad(y + c, left, aligned);
    sum = math::fma(p.x, d.x, sum);
    if (left > 1) sum = math::fma(p.y, d.y, sum);
    if (left > 2) sum = math::fma(p.z, d.z, sum);
    if (left > 3) sum = math::fma(p.w, d.w, sum);
  });
  sum = group_sum<THREADS>(sum);
  row.for_quads([&](int c, float4 d) {
    float4 p = load_quad(y + c, row.width() - c, aligned);
    each(
        [&](float& dv, float& v) {
          dv = x.log ? math::log_softmax_backward(v, dv, sum) : math::softmax_backward(v, dv, sum);
        },
        d, p);
    store_quad(dx + c, d, row.width() - c, aligned);
  });
}

}  // namespace

void softmax(const SoftmaxArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.x, x.width) && aligned(x.y);
  with_threads(x.width,
               [&]<int THREADS>() { launch(softmax_rows<THREADS>, launch_rows<THREADS>(x.rows), x, whole); });
}

void softmax_backward(const SoftmaxBackwardArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.y, x.width) && aligned(x.dy) && aligned(x.dx);
  with_threads(x.width, [&]<int THREADS>() {
    launch(softmax_backward_rows<THREADS>, launch_rows<THREADS>(x.rows), x, whole);
  });
}

}  // namespace s2s::cuda

// A warp has a row, a block a wide one (detail/row.h).
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "math/softmax.h"
#include "ops/softmax.h"

namespace s2s::cuda {
namespace {

template <class Row>
__global__ void __launch_bounds__(kRowBlock<Row>) softmax_rows(SoftmaxArgs x, bool aligned) {
  const int64_t r = row_of_group<Row>();
  if (r >= x.rows) return;
  const int width = static_cast<int>(x.width);
  Row row(x.x + r * x.width, width, aligned);
  float* y = x.y + r * x.width;
  const auto [top, total] = row.top_and_total();
  if (x.log) {
    const float log_total = math::log(total);
    row.for_quads([&, top = top](int c, float4 q) {
      each([&](float& v) { v = math::log_softmax(v, top, log_total); }, q);
      store_quad(y + c, q, width - c, aligned);
    });
  } else {
    const float inverse = 1.0f / total;
    row.for_quads([&, top = top](int c, float4 q) {
      each([&](float& v) { v = math::softmax(v, top, inverse); }, q);
      store_quad(y + c, q, width - c, aligned);
    });
  }
}

// Two passes; the second finds y and dy in the cache.
template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<Streamed<THREADS>>)
    softmax_backward_rows(SoftmaxBackwardArgs x, bool aligned) {
  using Row = Streamed<THREADS>;
  const int64_t r = row_of_group<Row>();
  if (r >= x.rows) return;
  const int width = static_cast<int>(x.width), first = kQuad * static_cast<int>(threadIdx.x % THREADS);
  const float *y = x.y + r * x.width, *dy = x.dy + r * x.width;
  float* dx = x.dx + r * x.width;
  float sum = 0.0f;
  for (int c = first; c < width; c += kQuad * THREADS) {
    const float4 d = load_quad(dy + c, width - c, aligned);
    if (x.log) {
      sum += (d.x + d.y) + (d.z + d.w);
    } else {
      const float4 p = load_quad(y + c, width - c, aligned);
      sum = math::fma(p.w, d.w, math::fma(p.z, d.z, math::fma(p.y, d.y, math::fma(p.x, d.x, sum))));
    }
  }
  sum = group_sum<THREADS>(sum);
  for (int c = first; c < width; c += kQuad * THREADS) {
    float4 d = load_quad(dy + c, width - c, aligned), p = load_quad(y + c, width - c, aligned);
    each(
        [&](float& dv, float& v) {
          dv = x.log ? math::log_softmax_backward(v, dv, sum) : math::softmax_backward(v, dv, sum);
        },
        d, p);
    store_quad(dx + c, d, width - c, aligned);
  }
}

template <int THREADS>
void launch_backward(const SoftmaxBackwardArgs& x) {
  const bool whole = aligned(x.y, x.width) && aligned(x.dy) && aligned(x.dx);
  launch(softmax_backward_rows<THREADS>, launch_rows<Streamed<THREADS>>(x.rows), x, whole);
}

}  // namespace

void softmax(const SoftmaxArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.x, x.width) && aligned(x.y);
  with_row(x.width, [&]<class Row>() { launch(softmax_rows<Row>, launch_rows<Row>(x.rows), x, whole); });
}

void softmax_backward(const SoftmaxBackwardArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  if (x.width <= 1024) return launch_backward<32>(x);
  if (x.width <= 8192) return launch_backward<256>(x);
  launch_backward<1024>(x);
}

}  // namespace s2s::cuda

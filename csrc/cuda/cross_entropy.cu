// A warp has a row of logits, a block a wide one (detail/row.h): read once, its gradient written from
// registers.
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "math/softmax.h"
#include "ops/cross_entropy.h"

namespace s2s::cuda {
namespace {

// The lowest index of the row's largest element; -1 where every element is NaN.
template <class Row>
__device__ __forceinline__ int argmax(Row& row, float top) {
  int first = INT32_MAX;
  row.for_quads(
      [&](int c, float4 q) { each([&](float& x) { first = x >= top ? min(first, c) : first, ++c; }, q); });
  first = group_min<Row::kThreads>(first);
  return first == INT32_MAX ? -1 : first;
}

template <class Row>
__device__ __forceinline__ float mean_below(Row& row, float top, int width) {
  float sum = 0.0f;
  row.for_quads([&](int c, float4 q) { each([&](float& x) { sum += c++ < width ? top - x : 0.0f; }, q); });
  return group_sum<Row::kThreads>(sum) / static_cast<float>(width);
}

template <class Row>
__device__ __forceinline__ void ignore(const CrossEntropyArgs& x, int64_t r, int width, bool aligned) {
  if (first_of_group<Row>()) {
    x.losses[r] = 0.0f;
    if (x.nll) x.nll[r] = 0.0f;
    if (x.best) x.best[r] = -1;
  }
  if (!x.dlogits) return;
  for (int c = kQuad * static_cast<int>(threadIdx.x % Row::kThreads); c < width; c += kQuad * Row::kThreads)
    store_quad(x.dlogits + r * x.classes + c, {0.0f, 0.0f, 0.0f, 0.0f}, width - c, aligned);
}

template <class Row>
__global__ void __launch_bounds__(kRowBlock<Row>) cross_entropy_rows(CrossEntropyArgs x, bool aligned) {
  const int64_t r = row_of_group<Row>();
  if (r >= x.rows) return;
  const int width = static_cast<int>(x.classes), target = x.targets[r];
  if (target == x.ignore_index) return ignore<Row>(x, r, width, aligned);

  const float* logits = x.logits + r * x.classes;
  Row row(logits, width, aligned);
  const auto [top, total] = row.top_and_total();
  const int best = x.best ? argmax(row, top) : -1;
  const float below = x.smoothing != 0.0f ? mean_below(row, top, width) : 0.0f;
  if (first_of_group<Row>()) {
    const float log_total = math::log(total);
    const float nll = math::negative_log_likelihood(logits[target], top, log_total);
    x.losses[r] = x.smoothing != 0.0f ? math::smoothed_loss(nll, x.smoothing, below, log_total) : nll;
    if (x.nll) x.nll[r] = nll;
    if (x.best) x.best[r] = best;
  }
  if (!x.dlogits) return;
  meet<Row>();  // logits[target] has been read: dlogits may take its place
  float* dlogits = x.dlogits + r * x.classes;
  const auto rates = math::cross_entropy_rates(x.scale, x.smoothing, total, x.classes);
  row.for_quads([&, top = top](int c, float4 q) {
    int at = c;
    each(
        [&](float& v) {
          v = math::cross_entropy_gradient(v, top, rates.factor, rates.off);
          if (at++ == target) v -= rates.hit;
        },
        q);
    store_quad(dlogits + c, q, width - c, aligned);
  });
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& x) {
  if (x.rows == 0) return;
  const bool whole = aligned(x.logits, x.classes) && (!x.dlogits || aligned(x.dlogits));
  with_row(x.classes,
           [&]<class Row>() { launch(cross_entropy_rows<Row>, launch_rows<Row>(x.rows), x, whole); });
}

}  // namespace s2s::cuda

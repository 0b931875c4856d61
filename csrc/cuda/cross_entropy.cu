// A warp has a row of logits, a block a wide one (detail/row.h). The pass that writes the gradient finds the
// logits in the cache.
#include "cuda/detail/classes.h"
#include "cuda/table.h"
#include "math/softmax.h"
#include "ops/cross_entropy.h"

namespace s2s::cuda {
namespace {

template <int THREADS>
__device__ __forceinline__ void ignore(const CrossEntropyArgs& x, int64_t r, const Row<THREADS>& row,
                                       bool aligned) {
  if (row.rank() == 0) {
    x.losses[r] = 0.0f;
    if (x.nll) x.nll[r] = 0.0f;
    if (x.best) x.best[r] = -1;
  }
  if (!x.dlogits) return;
  float* dlogits = x.dlogits + r * x.classes;
  row.for_quads(
      [&](int c, float4) { store_quad(dlogits + c, {0.0f, 0.0f, 0.0f, 0.0f}, row.width() - c, aligned); });
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>) cross_entropy_rows(CrossEntropyArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const float* logits = x.logits + r * x.classes;
  const Row<THREADS> row(logits, x.classes, aligned);
  const int target = x.targets[r];
  if (target == x.ignore_index) return ignore(x, r, row, aligned);

  const auto [top, total] = row.top_and_total();
  const int best = x.best ? argmax(row, top) : -1;
  const float below = x.smoothing != 0.0f ? mean_below(row, top) : 0.0f;
  if (row.rank() == 0) {
    const float log_total = math::log(total);
    const float nll = math::negative_log_likelihood(logits[target], top, log_total);
    x.losses[r] = x.smoothing != 0.0f ? math::smoothed_loss(nll, x.smoothing, below, log_total) : nll;
    if (x.nll) x.nll[r] = nll;
    if (x.best) x.best[r] = best;
  }
  if (!x.dlogits) return;
  row.meet();  // logits[target] has been read: dlogits may take its place
  const auto rates = math::cross_entropy_rates(x.scale, x.smoothing, total, x.classes);
  write_gradient(row, top, rates, target, x.dlogits + r * x.classes, aligned);
}

}  // namespace

void cross_entropy(const CrossEntropyArgs& x) {
  if (x.rows == 0) return;
  const bool whole = aligned(x.logits, x.classes) && (!x.dlogits || aligned(x.dlogits));
  with_threads(x.classes, [&]<int THREADS>() {
    launch(cross_entropy_rows<THREADS>, launch_rows<THREADS>(x.rows), x, whole);
  });
}

}  // namespace s2s::cuda

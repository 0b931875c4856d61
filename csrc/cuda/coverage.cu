// A warp has a row.
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "ops/coverage.h"

namespace s2s::cuda {
namespace {

__global__ void __launch_bounds__(kRowBlock<kWarp>) coverage_loss_rows(CoverageLossArgs x) {
  const int64_t row = row_of_group<kWarp>();
  if (row >= x.rows) return;
  const int lane = threadIdx.x % kWarp;
  const int64_t begin = row * x.width;
  float sum = 0.0f;
  for (int64_t s = begin + lane; s < begin + x.width; s += kWarp) {
    const float w = x.weights[s], c = x.coverage[s];
    const bool covered = c < w;
    sum += covered ? c : w;
    if (!x.dweights) continue;
    if (!covered) x.dweights[s] += x.scale;
    x.dcoverage[s] = covered ? x.scale : 0.0f;
  }
  sum = group_sum<kWarp>(sum);
  if (lane == 0) x.losses[row] = sum;
}

}  // namespace

void coverage_loss(const CoverageLossArgs& x) {
  if (x.rows == 0) return;
  launch(coverage_loss_rows, launch_rows<kWarp>(x.rows), x);
}

}  // namespace s2s::cuda

// Rows are split over threads.
#include "ops/coverage.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"

namespace s2s::S2S_ISA {
namespace {

void one_row(const CoverageLossArgs& x, int64_t row) {
  const int64_t begin = row * x.width;
  const float *weights = x.weights + begin, *coverage = x.coverage + begin;
  Vec sum = splat(0.0f);
  const Vec zero = splat(0.0f), scale = splat(x.scale);
  for (int64_t s = 0; s < x.width; s += kLanes) {
    const int lanes = lanes_left(x.width, s);
    const Vec w = load(weights + s, lanes), c = load(coverage + s, lanes);
    sum = sum + select_less(c, w, c, w);
    if (!x.dweights) continue;
    float* dweights = x.dweights + begin + s;
    store(dweights, load(dweights, lanes) + select_less(c, w, zero, scale), lanes);
    store(x.dcoverage + begin + s, select_less(c, w, scale, zero), lanes);
  }
  x.losses[row] = sum_lanes(sum);
}

}  // namespace

void coverage_loss(const CoverageLossArgs& x) {
  parallel(x.rows * x.width < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

// Rows are split over threads.
#include "ops/dropout.h"

#include "core/threads.h"
#include "cpu/detail/random.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

void one_row(const DropoutArgs& x, int64_t r) {
  const float* from = x.x + r * x.x_stride;
  float* to = x.y + r * x.y_stride;
  const Vec keep = splat(1.0f / (1.0f - x.p)), threshold = splat(x.p);
  for_uniforms(math::dropout_counter(0, x.time[r], x.example[r], x.op), math::dropout_key0(x.seed), x.update,
               x.width, [&](int64_t u, int lanes, Vec random) {
                 store(to + u, math::dropout(random, threshold, load(from + u, lanes), keep), lanes);
               });
}

}  // namespace

void dropout(const DropoutArgs& x) {
  parallel(x.rows * x.width < (1 << 13) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

// One row at a time, split over threads.
#include "ops/topk.h"

#include "core/threads.h"
#include "cpu/detail/best.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

void one_row(const TopkArgs& x, int64_t r) {
  const float* row = x.x + r * x.width;
  float* values = x.values + r * x.k;
  int32_t* indices = x.indices + r * x.k;
  Best list{values, indices, x.k, 0};
  insert_row(list, row, x.width, 0);
  const float top = x.log_softmax ? row_max(row, x.width) : 0.0f;
  const float total = sum_exp(row, x.width, top);
  if (total != total) {
    for (int64_t i = 0; i < x.k; ++i) indices[i] = -1;
  } else if (x.log_softmax) {
    const float log_total = math::log(total);
    for (int64_t i = 0; i < x.k; ++i) values[i] = math::log_softmax(values[i], top, log_total);
  }
}

}  // namespace

void topk(const TopkArgs& x) {
  parallel(x.rows * x.width < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

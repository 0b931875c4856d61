// One row at a time: a sorted list of the best k so far; a vector enters the list only if one of its lanes
// beats the last.
#include "ops/topk.h"

#include "core/threads.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

// Puts (value, index) into the descending list of `size` entries, behind equals, and drops what no longer
// fits.
S2S_INLINE void insert(float* values, int32_t* indices, int64_t& size, int64_t k, float value,
                       int32_t index) {
  if (size == k && !(value > values[k - 1])) return;
  int64_t at = size < k ? size++ : k - 1;
  for (; at > 0 && value > values[at - 1]; --at) {
    values[at] = values[at - 1];
    indices[at] = indices[at - 1];
  }
  values[at] = value;
  indices[at] = index;
}

void one_row(const TopkArgs& x, int64_t r) {
  const float* row = x.x + r * x.width;
  float* values = x.values + r * x.k;
  int32_t* indices = x.indices + r * x.k;
  int64_t size = 0;
  for (int64_t i = 0; i < x.width; i += kLanes) {
    const int lanes = lanes_left(x.width, i);
    if (size == x.k && !any_greater(load(row + i, lanes, -__builtin_inff()), splat(values[x.k - 1])))
      continue;
    for (int j = 0; j < lanes; ++j)
      insert(values, indices, size, x.k, row[i + j], static_cast<int32_t>(i + j));
  }
  const float top = x.log_softmax ? row_max(row, x.width) : 0.0f;
  const float total = sum_exp(row, x.width, top);
  if (total != total) {
    for (int64_t i = 0; i < x.k; ++i) indices[i] = -1;
  } else if (x.log_softmax) {
    // The same operations as log_softmax: (x - max) - log(sum).
    const float log_total = __builtin_logf(total);
    for (int64_t i = 0; i < x.k; ++i) values[i] = (values[i] - top) - log_total;
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

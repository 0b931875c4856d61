// Rows are split over threads. A row is summed in parts: the part where the number lies is then walked alone.
#include "ops/sample.h"

#include "core/threads.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kParts = 64, kLeast = 256;

void one_row(const SampleArgs& x, int64_t r) {
  const float* row = x.x + r * x.width;
  const int64_t width = x.width, even = (width + kParts - 1) / kParts, part = even < kLeast ? kLeast : even;
  const float top = row_max(row, width);
  float sums[kParts], total = 0.0f;
  int64_t parts = 0;
  for (int64_t begin = 0; begin < width; begin += part, ++parts) {
    sums[parts] = sum_exp(row + begin, width - begin < part ? width - begin : part, top);
    total += sums[parts];
  }
  if (total != total) return;
  const float goal = x.u[r] * total;
  float before = 0.0f;
  int64_t chosen = 0;  // before + sums up to the last part is total, which u < 1 times it is always below
  for (; chosen + 1 < parts && !(before + sums[chosen] > goal); ++chosen) before += sums[chosen];
  const int64_t begin = chosen * part, end = width - begin < part ? width : begin + part;
  int64_t found = begin;  // the last with any probability, where rounding leaves the goal out of reach
  for (int64_t i = begin; i < end; ++i) {
    const float e = math::exp(row[i] - top);
    if (!(e > 0.0f)) continue;
    found = i;
    before += e;
    if (before > goal) break;
  }
  x.ids[x.index[r]] = static_cast<int32_t>(found);
}

}  // namespace

void sample(const SampleArgs& x) {
  parallel(x.rows * x.width < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

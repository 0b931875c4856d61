// Rows are split over threads.
#include "ops/rows.h"

#include <cstring>

#include "core/threads.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {

void gather_rows(const GatherRowsArgs& x) {
  parallel(x.rows * x.width < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) {
      float* to = x.y + r * x.y_stride;
      const size_t bytes = static_cast<size_t>(x.width) * sizeof(float);
      if (x.index[r] < 0) {
        std::memset(to, 0, bytes);
      } else {
        std::memcpy(to, x.x + x.index[r] * x.x_stride, bytes);
      }
    }
  });
}

}  // namespace s2s::S2S_ISA

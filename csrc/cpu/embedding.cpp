// Forward splits rows over threads; backward splits columns, so that each element's sum has the order of the
// rows.
#include "ops/embedding.h"

#include <cstring>

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"

namespace s2s::S2S_ISA {

void embedding(const EmbeddingArgs& x) {
  parallel(x.rows * x.width < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) {
      std::memcpy(x.out + r * x.out_stride, x.table + x.ids[r] * x.width,
                  static_cast<size_t>(x.width) * sizeof(float));
    }
  });
}

void embedding_backward(const EmbeddingArgs& x) {
  const int64_t blocks = (x.width + kLanes - 1) / kLanes;
  parallel(x.rows * x.width < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(blocks, part, parts);
    const int64_t begin = range.begin * kLanes,
                  end = range.end * kLanes < x.width ? range.end * kLanes : x.width;
    for (int64_t r = 0; r < x.rows; ++r) {
      float* to = x.table + x.ids[r] * x.width;
      const float* from = x.out + r * x.out_stride;
      for (int64_t i = begin; i < end; i += kLanes) {
        const int lanes = lanes_left(end, i);
        store(to + i, load(to + i, lanes) + load(from + i, lanes), lanes);
      }
    }
  });
}

}  // namespace s2s::S2S_ISA

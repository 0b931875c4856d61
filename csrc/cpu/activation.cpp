// One pass over all elements, split over threads.
#include "ops/activation.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"
#include "math/exp.h"

namespace s2s::S2S_ISA {

void tanh_backward(const TanhBackwardArgs& x) {
  const int64_t count = x.rows * x.width;
  parallel(count < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(count, part, parts);
    for (int64_t i = range.begin; i < range.end; i += kLanes) {
      const int lanes = lanes_left(range.end, i);
      store(x.dx + i, math::tanh_backward(load(x.y + i, lanes), load(x.dy + i, lanes)), lanes);
    }
  });
}

}  // namespace s2s::S2S_ISA

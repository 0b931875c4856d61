// Rows are split over threads.
#include "ops/softmax.h"

#include "core/threads.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {
constexpr int64_t kSerialWork = 1 << 14;
}

void softmax(const SoftmaxArgs& x) {
  parallel(x.rows * x.width < kSerialWork ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r)
      softmax_row(x.x + r * x.width, x.y + r * x.width, x.width, x.log);
  });
}

void softmax_backward(const SoftmaxBackwardArgs& x) {
  parallel(x.rows * x.width < kSerialWork ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) {
      const float *y = x.y + r * x.width, *dy = x.dy + r * x.width;
      float* dx = x.dx + r * x.width;
      float total = 0.0f;
      if (x.log) {
        Vec sum = splat(0.0f);
        for (int64_t i = 0; i < x.width; i += kLanes) sum = sum + load(dy + i, lanes_left(x.width, i));
        total = sum_lanes(sum);
      } else {
        total = dot(y, dy, x.width);
      }
      const Vec by = splat(total);
      for (int64_t i = 0; i < x.width; i += kLanes) {
        const int lanes = lanes_left(x.width, i);
        const Vec yi = load(y + i, lanes), di = load(dy + i, lanes);
        store(dx + i, x.log ? math::log_softmax_backward(yi, di, by) : math::softmax_backward(yi, di, by),
              lanes);
      }
    }
  });
}

}  // namespace s2s::S2S_ISA

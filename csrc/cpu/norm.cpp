// Elements are split over threads in whole blocks; the norm's blocks are summed in their order by one thread.
#include "ops/norm.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kBlock = 4096;
constexpr int64_t kBatch = 4096;  // blocks whose sums are kept at a time

float block_norm(const float* x, int64_t count) {
  Vec sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int v = 0; v < 4; ++v) sum[v] = fma(load(x + i + v * kLanes), load(x + i + v * kLanes), sum[v]);
  }
  for (; i < count; i += kLanes) {
    const Vec a = load(x + i, lanes_left(count, i));
    sum[0] = fma(a, a, sum[0]);
  }
  return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

}  // namespace

void squared_norm(const SquaredNormArgs& x) {
  const int64_t blocks = (x.count + kBlock - 1) / kBlock;
  double total = 0.0;
  for (int64_t first = 0; first < blocks; first += kBatch) {
    float sums[kBatch];
    const int64_t count = blocks - first < kBatch ? blocks - first : kBatch;
    parallel(count < 8 ? 1 : 64, [&](int part, int parts) {
      const Range range = share_of(count, part, parts);
      for (int64_t b = range.begin; b < range.end; ++b) {
        const int64_t begin = (first + b) * kBlock;
        sums[b] = block_norm(x.x + begin, x.count - begin < kBlock ? x.count - begin : kBlock);
      }
    });
    for (int64_t b = 0; b < count; ++b) total += double{sums[b]};
  }
  *x.result = total;
}

void scale(const ScaleArgs& x) {
  parallel(x.count < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.count, part, parts);
    for (int64_t i = range.begin; i < range.end; i += kLanes) {
      const int lanes = lanes_left(range.end, i);
      store(x.x + i, load(x.x + i, lanes) * splat(x.factor), lanes);
    }
  });
}

void add(const AddArgs& x) {
  parallel(x.rows * x.width < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) {
      for (int64_t c = 0; c < x.width; c += kLanes) {
        const int lanes = lanes_left(x.width, c);
        float* y = x.y + r * x.y_stride + c;
        store(y, load(y, lanes) + load(x.x + r * x.x_stride + c, lanes), lanes);
      }
    }
  });
}

}  // namespace s2s::S2S_ISA

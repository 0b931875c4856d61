// Columns are split over threads (column_sum) or segments are, so that each sum has the order of its rows.
#include "ops/reduce.h"

#include "core/threads.h"
#include "cpu/detail/weights.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {
constexpr int64_t kBlock = 32;  // rows summed before they enter the total

template <class Element>
void sum_columns(const ColumnSumArgs& x, const Element* rows) {
  const int64_t blocks = (x.width + kLanes - 1) / kLanes;
  parallel(x.rows * x.width < (1 << 15) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(blocks, part, parts);
    constexpr int kWide = 8;  // columns of vectors summed in one walk down the rows
    for (int64_t b = range.begin; b < range.end; b += kWide) {
      const int64_t wide = range.end - b < kWide ? range.end - b : kWide;
      Vec sum[kWide] = {};
      for (int64_t first = 0; first < x.rows;
           first += kBlock) {  // sums of sums: rounding grows with their number only
        Vec block[kWide] = {};
        const int64_t last = x.rows - first < kBlock ? x.rows : first + kBlock;
        for (int64_t r = first; r < last; ++r) {
          const Element* row = rows + r * x.x_stride;
          for (int64_t v = 0; v < wide; ++v) {
            const int64_t c = (b + v) * kLanes;
            block[v] = block[v] + load(row + c, lanes_left(x.width, c));
          }
        }
        for (int64_t v = 0; v < wide; ++v) sum[v] = sum[v] + block[v];
      }
      for (int64_t v = 0; v < wide; ++v) {
        const int64_t c = (b + v) * kLanes;
        const int lanes = lanes_left(x.width, c);
        store(x.out + c, load(x.out + c, lanes) + sum[v], lanes);
      }
    }
  });
}

}  // namespace

void column_sum(const ColumnSumArgs& x) {
  x.rounded ? sum_columns(x, reinterpret_cast<const BFloat*>(x.rounded)) : sum_columns(x, x.x);
}

void segment_mean(const SegmentMeanArgs& x) {
  parallel(x.segments * x.width < (1 << 12) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.segments, part, parts);
    for (int64_t n = range.begin; n < range.end; ++n) {
      const int64_t begin = x.offsets[n], end = x.offsets[n + 1];
      const Vec factor = splat(1.0f / static_cast<float>(end - begin));
      for (int64_t c = 0; c < x.width; c += kLanes) {
        const int lanes = lanes_left(x.width, c);
        Vec sum = splat(0.0f);
        for (int64_t r = begin; r < end; ++r) sum = sum + load(x.x + r * x.width + c, lanes);
        store(x.out + n * x.width + c, sum * factor, lanes);
      }
    }
  });
}

void segment_mean_backward(const SegmentMeanArgs& x) {
  parallel(x.segments * x.width < (1 << 12) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.segments, part, parts);
    for (int64_t n = range.begin; n < range.end; ++n) {
      const int64_t begin = x.offsets[n], end = x.offsets[n + 1];
      const Vec factor = splat(1.0f / static_cast<float>(end - begin));
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t c = 0; c < x.width; c += kLanes) {
          const int lanes = lanes_left(x.width, c);
          float* to = x.x + r * x.width + c;
          store(to, fma(load(x.out + n * x.width + c, lanes), factor, load(to, lanes)), lanes);
        }
      }
    }
  });
}

}  // namespace s2s::S2S_ISA

// Split into units: a block of columns by a chunk of rows, whose logits stay in the cache until their
// maximum, their sum of exponentials and the best of them are taken. A thread keeps each row's best over its
// own blocks, so that most blocks are passed over after one comparison.
#include "ops/project_topk.h"

#include "core/scratch.h"
#include "core/threads.h"
#include "cpu/detail/best.h"
#include "cpu/detail/panel.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"
#include "math/exp.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kBlock = 256;  // columns; part of the sum's order: changing it changes bits
constexpr int kMaxRows = max_rows(kPanelVecs);
constexpr int64_t kChunk = 4 * kMaxRows;  // rows whose logits stay in the cache
constexpr int64_t kFewBlocks = 4;         // so few that the rows must be shared out, too
constexpr int64_t kSerialWork = 1 << 17;  // multiplications below which a second thread does not pay
constexpr int kMaxParts = 64;
static_assert(kBlock % kPanelWidth == 0);

// What the units leave behind: per row and block the greatest logit and the sum of exp(logit - greatest), per
// part and row the best.
struct Records {
  int64_t blocks, chunk, chunks;
  float* greatest = nullptr;   // [m, blocks]
  float* sums = nullptr;       // [m, blocks]
  int64_t* sizes = nullptr;    // [parts, m] of the best
  float* values = nullptr;     // [parts - 1, m, best]: the first part writes the result's memory
  int32_t* indices = nullptr;  // [parts - 1, m, best]
  void* quantized = nullptr;   // int8: narrow_bytes(m, k)
};

Best best_of(const ProjectTopkArgs& x, const Records& records, int part, int64_t row) {
  const int64_t size = records.sizes[part * x.m + row];
  if (part == 0) return {x.values + row * x.best, x.indices + row * x.best, x.best, size};
  const int64_t at = ((part - 1) * x.m + row) * x.best;
  return {records.values + at, records.indices + at, x.best, size};
}

// Logits of rows [row, row + rows) and of one block's columns -> out, rows kBlock apart. A function of its
// own: beside others' constants the accumulators would not stay in registers.
template <class Element>
__attribute__((noinline)) void block_logits(const ProjectTopkArgs& x, const Rows<Element>& a, int64_t row,
                                            int64_t rows, int64_t first, int64_t width, float* out) {
  for (int64_t column = 0; column < width; column += kPanelWidth) {
    const void* panel = panel_at(x.b, (first + column) / kPanelWidth, x.type, x.k, kPanelWidth);
    for_tiles<rows_for<Element>(kPanelVecs)>(rows, [&](auto height, int64_t r0) {
      constexpr int ROWS = decltype(height)::value;
      Vec sum[ROWS][kPanelVecs];
      blocked_product<ROWS, kPanelVecs, Element>(a, row + r0, panel, x.k, sum);
      for (int v = 0; v < kPanelVecs; ++v) {
        const int64_t at = column + v * kLanes;
        if (at >= width) return;
        for (int r = 0; r < ROWS; ++r) {
          Vec value = sum[r][v];
          if (x.bias) value = value + load(x.bias + first + at, lanes_left(width, at));
          store(out + (r0 + r) * kBlock + at, value);
        }
      }
    });
  }
}

template <class Element>
void one_unit(const ProjectTopkArgs& x, const Rows<Element>& a, const Records& records, int64_t unit,
              int part) {
  const int64_t block = unit / records.chunks, row = unit % records.chunks * records.chunk;
  const int64_t rows = x.m - row < records.chunk ? x.m - row : records.chunk;
  const int64_t first = block * kBlock, width = x.n - first < kBlock ? x.n - first : kBlock;
  alignas(64) float logits[kChunk * kBlock];
  block_logits(x, a, row, rows, first, width, logits);
  for (int64_t r = 0; r < rows; ++r) {
    const float* z = logits + r * kBlock;
    const float greatest = row_max(z, width);
    const int64_t at = (row + r) * records.blocks + block;
    records.greatest[at] = greatest;
    // A block of nothing but -infinity adds nothing.
    records.sums[at] = sum_exp(z, width, greatest == -__builtin_inff() ? 0.0f : greatest);
    Best best = best_of(x, records, part, row + r);
    if (best.size == best.k && !(greatest > best.values[best.k - 1])) continue;
    insert_row(best, z, width, first);
    records.sizes[part * x.m + row + r] = best.size;
  }
}

// The blocks' records of a row, in their order, and the parts' best -> the result.
void finish_row(const ProjectTopkArgs& x, const Records& records, int parts, int64_t row) {
  const float* greatest = records.greatest + row * records.blocks;
  const float* sums = records.sums + row * records.blocks;
  float top = greatest[0], total = sums[0];
  if (records.blocks > 1) {
    top = row_max(greatest, records.blocks);
    Vec sum = splat(0.0f);
    for (int64_t i = 0; i < records.blocks; i += kLanes) {
      const int lanes = lanes_left(records.blocks, i);
      const Vec greatest_of = load(greatest + i, lanes, -__builtin_inff());
      sum = fma(math::exp(greatest_of - splat(top)), load(sums + i, lanes), sum);
    }
    total = sum_lanes(sum);
  }
  Best best = best_of(x, records, 0, row);
  for (int part = 1; part < parts; ++part) {  // of ascending columns
    const Best other = best_of(x, records, part, row);
    for (int64_t i = 0; i < other.size; ++i) insert(best, other.values[i], other.indices[i]);
  }
  if (!(total > 0.0f)) {  // NaN, or nothing but -infinity: else one term at least is 1
    for (int64_t i = 0; i < x.best; ++i) best.indices[i] = -1;
    return;
  }
  const float log_total = __builtin_logf(total);  // the operations of log_softmax: (z - max) - log(sum)
  for (int64_t i = 0; i < x.best; ++i) best.values[i] = (best.values[i] - top) - log_total;
}

// Divides the thread's scratch memory.
Records make_records(const ProjectTopkArgs& x, Records records, int parts) {
  const int64_t per_row = x.m * records.blocks, lists = (parts - 1) * x.m * x.best;
  const int64_t quantized = x.type == ComputeType::int8 ? narrow_bytes(x.m, x.k) : 0;
  records.quantized =
      thread_scratch(static_cast<size_t>(quantized + parts * x.m * 8 + per_row * 8 + lists * 8));
  records.sizes = reinterpret_cast<int64_t*>(static_cast<char*>(records.quantized) + quantized);
  records.greatest = reinterpret_cast<float*>(records.sizes + parts * x.m);
  records.sums = records.greatest + per_row;
  records.values = records.sums + per_row;
  records.indices = reinterpret_cast<int32_t*>(records.values + lists);
  for (int64_t i = 0; i < parts * x.m; ++i) records.sizes[i] = 0;
  return records;
}

}  // namespace

void project_topk(const ProjectTopkArgs& x) {
  const int64_t blocks = (x.n + kBlock - 1) / kBlock;
  const int64_t chunk = blocks < kFewBlocks ? kMaxRows : kChunk, chunks = (x.m + chunk - 1) / chunk;
  const int64_t units = blocks * chunks;  // block after block
  int parts = x.m * x.n * x.k < kSerialWork ? 1 : kMaxParts;
  if (parts > units) parts = static_cast<int>(units);
  const Records records = make_records(x, {blocks, chunk, chunks}, parts);
  with_element(x.type, [&](auto* element) {
    using Element = element_of<decltype(element)>;
    const Rows<Element> a =
        left_operand<Element>(x.a, x.a_row_stride, x.m, x.k, x.least_bound, records.quantized);
    parallel(parts, [&](int part, int all) {
      const Range range = share_of(units, part, all);
      for (int64_t unit = range.begin; unit < range.end; ++unit) one_unit(x, a, records, unit, part);
    });
  });
  for (int64_t row = 0; row < x.m; ++row) finish_row(x, records, parts, row);
}

}  // namespace s2s::S2S_ISA

// Rows are split over threads. A call of philox serves four units; kLanes calls are made at once.
#include "ops/dropout.h"

#include "core/threads.h"
#include "cpu/detail/random.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

void one_row(const DropoutArgs& x, int64_t r) {
  const float* from = x.x + r * x.x_stride;
  float* to = x.y + r * x.y_stride;
  const Vec keep = splat(1.0f / (1.0f - x.p)), threshold = splat(x.p);
  const uint32_t key0 = math::dropout_key0(x.seed);
  NativeWords blocks;
  for (uint32_t i = 0; i < kLanes; ++i) blocks[i] = i;
  for (int64_t u = 0; u < x.width; u += 4 * kLanes) {
    const math::Philox first = math::dropout_counter(u / 4, x.time[r], x.example[r], x.op);
    math::Words<WordVec> counter;
    for (int w = 0; w < 4; ++w) counter.word[w].v = first.word[w] - NativeWords{};
    counter.word[0].v += blocks;
    NativeWords words[4];
    in_order(math::philox(counter, key0, x.update), words);
    for (int w = 0; w < 4; ++w) {
      const int64_t at = u + w * kLanes;
      if (at >= x.width) break;
      const int lanes = lanes_left(x.width, at);
      store(to + at, math::dropout(uniform(words[w]), threshold, load(from + at, lanes), keep), lanes);
    }
  }
}

}  // namespace

void dropout(const DropoutArgs& x) {
  parallel(x.rows * x.width < (1 << 13) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

}  // namespace s2s::S2S_ISA

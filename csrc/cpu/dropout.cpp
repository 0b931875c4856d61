// Rows are split over threads. Each call of philox serves four units; kLanes calls side by side make the vectors.
#include "ops/dropout.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"
#include "math/philox.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kBlocks = 16;  // philox calls made together, for the compiler to vectorise

void one_row(const DropoutArgs& x, int64_t r) {
  const float* from = x.x + r * x.x_stride;
  float* to = x.y + r * x.y_stride;
  const float keep = 1.0f / (1.0f - x.p);
  const uint32_t key0 = math::dropout_key0(x.seed);
  for (int64_t u = 0; u < x.width; u += 4 * kBlocks) {
    float uniform[4 * kBlocks];
    for (int b = 0; b < kBlocks; ++b) {
      const math::Philox random =
          math::philox(math::dropout_counter(u / 4 + b, x.time[r], x.example[r], x.op), key0, x.update);
      for (int w = 0; w < 4; ++w) uniform[4 * b + w] = math::uniform(random.word[w]);
    }
    const int64_t count = x.width - u < 4 * kBlocks ? x.width - u : 4 * kBlocks;
    for (int64_t i = 0; i < count; ++i) to[u + i] = uniform[i] >= x.p ? from[u + i] * keep : 0.0f;
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

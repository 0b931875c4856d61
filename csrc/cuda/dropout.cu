// A thread has four neighbouring units: those that one call of philox serves.
#include "cuda/detail/elements.h"
#include "cuda/table.h"
#include "math/philox.h"
#include "math/scalar.h"
#include "ops/dropout.h"

namespace s2s::cuda {
namespace {

__global__ void __launch_bounds__(kElementsBlock) dropout_rows(DropoutArgs x, float keep, bool aligned) {
  const auto [r, u] = row_place(x.width);
  const int64_t left = x.width - u;
  if (r >= x.rows || left <= 0) return;
  const math::Philox words = math::philox(math::dropout_counter(u / kQuad, x.time[r], x.example[r], x.op),
                                          math::dropout_key0(x.seed), x.update);
  float4 q = load_quad(x.x + r * x.x_stride + u, left, aligned);
  q.x = math::dropout(math::uniform(words.word[0]), x.p, q.x, keep);
  q.y = math::dropout(math::uniform(words.word[1]), x.p, q.y, keep);
  q.z = math::dropout(math::uniform(words.word[2]), x.p, q.z, keep);
  q.w = math::dropout(math::uniform(words.word[3]), x.p, q.w, keep);
  store_quad(x.y + r * x.y_stride + u, q, left, aligned);
}

}  // namespace

void dropout(const DropoutArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.x, x.x_stride) && aligned(x.y, x.y_stride);
  launch(dropout_rows, launch_rows_of(x.rows, x.width), x, 1.0f / (1.0f - x.p), whole);
}

}  // namespace s2s::cuda

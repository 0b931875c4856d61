// A thread has four neighbouring units: those that one call of philox serves.
#include "cuda/detail/elements.h"
#include "cuda/table.h"
#include "math/zoneout.h"
#include "ops/zoneout.h"

namespace s2s::cuda {
namespace {

__device__ __forceinline__ float4 uniforms(const ZoneoutMask& m, int64_t r, int64_t u) {
  const math::Philox words =
      math::philox(math::zoneout_counter(u / kQuad, m.time[r], m.example[r], m.op, m.stream),
                   math::dropout_key0(m.seed), m.update);
  return {math::uniform(words.word[0]), math::uniform(words.word[1]), math::uniform(words.word[2]),
          math::uniform(words.word[3])};
}

__global__ void __launch_bounds__(kElementsBlock) zoneout_rows(ZoneoutArgs x, bool aligned) {
  const auto [r, u] = row_place(x.width);
  const int64_t left = x.width - u;
  if (r >= x.rows || left <= 0) return;
  const int64_t at = r * x.width + u;
  const float p = x.mask.p;
  float4 before = load_quad(x.before + at, left, aligned), q = load_quad(x.x + at, left, aligned);
  if (x.mask.example) {
    float4 random = uniforms(x.mask, r, u);
    each([&](float& v, float& b, float& n) { v = math::zoneout(n, p, b, v); }, q, before, random);
  } else {
    each([&](float& v, float& b) { v = math::expected_zoneout(p, b, v); }, q, before);
  }
  store_quad(x.y + at, q, left, aligned);
  if (x.copy) store_quad(x.copy + r * x.copy_stride + u, q, left, aligned);
}

__global__ void __launch_bounds__(kElementsBlock) zoneout_backward_rows(ZoneoutBackwardArgs x, bool aligned) {
  const auto [r, u] = row_place(x.width);
  const int64_t left = x.width - u;
  if (r >= x.rows || left <= 0) return;
  const int64_t at = r * x.width + u;
  const float p = x.mask.p;
  float4 d = load_quad(x.dy + at, left, aligned), kept = d;
  if (x.mask.example) {
    float4 random = uniforms(x.mask, r, u);
    each(
        [&](float& dv, float& k, float& n) {
          k = math::zoneout(n, p, dv, 0.0f);
          dv = math::zoneout(n, p, 0.0f, dv);
        },
        d, kept, random);
  } else {
    each(
        [&](float& dv, float& k) {
          k = math::rounded_product(p, dv);
          dv -= k;
        },
        d, kept);
  }
  store_quad(x.dbefore + at, kept, left, aligned);
  store_quad(x.dx + at, d, left, aligned);
}

}  // namespace

void zoneout(const ZoneoutArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.before, x.width) && aligned(x.x) && aligned(x.y) &&
                     (!x.copy || aligned(x.copy, x.copy_stride));
  launch(zoneout_rows, launch_rows_of(x.rows, x.width), x, whole);
}

void zoneout_backward(const ZoneoutBackwardArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.dy, x.width) && aligned(x.dx) && aligned(x.dbefore);
  launch(zoneout_backward_rows, launch_rows_of(x.rows, x.width), x, whole);
}

}  // namespace s2s::cuda

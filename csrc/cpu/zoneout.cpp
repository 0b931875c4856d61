// Rows are split over threads.
#include "ops/zoneout.h"

#include "core/threads.h"
#include "cpu/detail/random.h"
#include "cpu/table.h"
#include "math/zoneout.h"

namespace s2s::S2S_ISA {
namespace {

// Calls f(first unit, lanes, random numbers) for each vector of a row.
template <class F>
S2S_INLINE void for_row(const ZoneoutMask& m, int64_t r, int64_t width, const F& f) {
  for_uniforms(math::zoneout_counter(0, m.time[r], m.example[r], m.op, m.stream), math::dropout_key0(m.seed),
               m.update, width, f);
}

void one_row(const ZoneoutArgs& x, int64_t r) {
  const float *before = x.before + r * x.width, *now = x.x + r * x.width;
  float *y = x.y + r * x.width, *copy = x.copy ? x.copy + r * x.copy_stride : nullptr;
  const Vec p = splat(x.mask.p);
  const auto put = [&](int64_t u, int lanes, Vec value) {
    store(y + u, value, lanes);
    if (copy) store(copy + u, value, lanes);
  };
  if (!x.mask.example) {
    for (int64_t u = 0; u < x.width; u += kLanes) {
      const int lanes = lanes_left(x.width, u);
      put(u, lanes, math::expected_zoneout(p, load(before + u, lanes), load(now + u, lanes)));
    }
    return;
  }
  for_row(x.mask, r, x.width, [&](int64_t u, int lanes, Vec random) {
    put(u, lanes, math::zoneout(random, p, load(before + u, lanes), load(now + u, lanes)));
  });
}

void one_row_backward(const ZoneoutBackwardArgs& x, int64_t r) {
  const float* dy = x.dy + r * x.width;
  float *dx = x.dx + r * x.width, *dbefore = x.dbefore + r * x.width;
  const Vec p = splat(x.mask.p), zero = splat(0.0f);
  if (!x.mask.example) {
    for (int64_t u = 0; u < x.width; u += kLanes) {
      const int lanes = lanes_left(x.width, u);
      const Vec d = load(dy + u, lanes), kept = p * d;
      store(dbefore + u, kept, lanes);
      store(dx + u, d - kept, lanes);
    }
    return;
  }
  for_row(x.mask, r, x.width, [&](int64_t u, int lanes, Vec random) {
    const Vec d = load(dy + u, lanes);
    store(dbefore + u, math::zoneout(random, p, d, zero), lanes);
    store(dx + u, math::zoneout(random, p, zero, d), lanes);
  });
}

}  // namespace

void zoneout(const ZoneoutArgs& x) {
  parallel(x.rows * x.width < (1 << 13) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row(x, r);
  });
}

void zoneout_backward(const ZoneoutBackwardArgs& x) {
  parallel(x.rows * x.width < (1 << 13) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) one_row_backward(x, r);
  });
}

}  // namespace s2s::S2S_ISA

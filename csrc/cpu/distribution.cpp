// Rows are split over threads; an element is a scalar formula in double.
#include "ops/distribution.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "math/draw.h"

namespace s2s::S2S_ISA {
namespace {

S2S_INLINE math::Element element(const DistributionArgs& x, int64_t at, double y) {
  return {y, x.offset ? double{x.offset[at]} : 0.0, x.scale ? double{x.scale[at]} : 1.0, x.levels,
          x.parameters};
}

// f(rows) of a share of the rows.
template <class F>
void share_rows(const DistributionArgs& x, const F& f) {
  parallel(x.rows * x.channels < 32 ? 1 : 64, [&](int part, int parts) { f(share_of(x.rows, part, parts)); });
}
// f(place in [rows, channels], its raw parameters) of all elements.
template <class F>
void each_element(const DistributionArgs& x, const F& f) {
  share_rows(x, [&](Range rows) {
    for (int64_t at = rows.begin * x.channels; at < rows.end * x.channels; ++at)
      f(at, x.x + at * x.parameters);
  });
}

}  // namespace

void distribution_loss(const DistributionLossArgs& x) {
  each_element(x.of, [&](int64_t at, const float* a) {
    const float y = x.target[at];
    float* da = x.dx ? x.dx + at * x.of.parameters : nullptr;
    if (y != y) {
      x.losses[at] = 0.0f;
      for (int64_t j = 0; da && j < x.of.parameters; ++j) da[j] = 0.0f;
      return;
    }
    const math::Element e = element(x.of, at, double{y});
    x.losses[at] = static_cast<float>(math::distribution_loss(x.of.kind, a, e, double{x.gradient_scale}, da));
  });
}

void distribution_parameters(const DistributionParametersArgs& x) {
  each_element(x.of, [&](int64_t at, const float* a) {
    const double offset = x.of.offset ? double{x.of.offset[at]} : 0.0;
    math::distribution_parameters(x.of.kind, a, offset, x.of.parameters, x.y + at * x.of.parameters);
  });
}

void distribution_sample(const DistributionSampleArgs& x) {
  share_rows(x.of, [&](Range rows) {
    math::Philox key{};
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      if (r == rows.begin || x.example[r] != x.example[r - 1]) key = math::draws_key(x.seed, x.example[r]);
      for (int64_t c = 0; c < x.of.channels; ++c) {
        const int64_t at = r * x.of.channels + c;
        const math::Draws draws = math::draws_of(key, x.path[r], x.step, c);
        x.y[at] = static_cast<float>(
            math::draw(x.of.kind, x.of.x + at * x.of.parameters, element(x.of, at, 0.0), draws));
      }
    }
  });
}

}  // namespace s2s::S2S_ISA

// Rows are split over threads; an element is a formula in double, a scalar but for normal and Student's t
// draws.
#include "ops/distribution.h"

#include "core/threads.h"
#include "cpu/detail/doubles.h"
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

// kLanes elements with their random numbers' keys and counters, gathered one by one.
struct Lanes {
  int64_t at[kLanes];
  NativeWords key0{}, key1{}, path{}, channel{};
  int count = 0;
};

// What lies beside the locations of a half's elements.
template <int HIGH>
S2S_INLINE Doubles deviation(const DistributionArgs& x, const Lanes& lanes, NativeWords u, NativeWords v) {
  const bool student = x.kind == Distribution::student_t;
  Doubles a1, a2{};
  for (int i = 0; i < kDoubles; ++i) {
    const float* a = x.x + lanes.at[i + HIGH * kDoubles] * x.parameters;
    a1.v[i] = a[1];
    if (student) a2.v[i] = a[2];
  }
  const Doubles first = open_uniforms<HIGH>(u), second = open_uniforms<HIGH>(v);
  return student ? math::student_t_deviation(first, second, a1, a2)
                 : math::normal_deviation(first, second, a1);
}

void draw_lanes(const DistributionSampleArgs& x, Lanes& lanes) {
  for (int i = lanes.count; i < kLanes; ++i) lanes.at[i] = lanes.at[0];
  const math::Words<WordVec> counter = {
      {{lanes.path}, {static_cast<uint32_t>(x.step) - NativeWords{}}, {lanes.channel}, {NativeWords{}}}};
  const auto words = math::philox(counter, WordVec{lanes.key0}, WordVec{lanes.key1});
  const Doubles found[2] = {deviation<0>(x.of, lanes, words.word[0].v, words.word[1].v),
                            deviation<1>(x.of, lanes, words.word[0].v, words.word[1].v)};
  for (int i = 0; i < lanes.count; ++i) {
    const int64_t at = lanes.at[i];
    const double location = x.of.x[at * x.of.parameters] + (x.of.offset ? double{x.of.offset[at]} : 0.0);
    x.y[at] = static_cast<float>(location + found[i / kDoubles].v[i % kDoubles]);
  }
  lanes.count = 0;
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
  const bool in_lanes = x.of.kind == Distribution::normal || x.of.kind == Distribution::student_t;
  share_rows(x.of, [&](Range rows) {
    math::Philox key{};
    Lanes lanes;
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      if (r == rows.begin || x.example[r] != x.example[r - 1]) key = math::draws_key(x.seed, x.example[r]);
      for (int64_t c = 0; c < x.of.channels; ++c) {
        const int64_t at = r * x.of.channels + c;
        if (in_lanes) {
          const int i = lanes.count++;
          lanes.at[i] = at;
          lanes.key0[i] = key.word[0];
          lanes.key1[i] = key.word[1];
          lanes.path[i] = static_cast<uint32_t>(x.path[r]);
          lanes.channel[i] = static_cast<uint32_t>(c);
          if (lanes.count == kLanes) draw_lanes(x, lanes);
          continue;
        }
        const math::Draws draws = math::draws_of(key, x.path[r], x.step, c);
        x.y[at] = static_cast<float>(
            math::draw(x.of.kind, x.of.x + at * x.of.parameters, element(x.of, at, 0.0), draws));
      }
    }
    if (lanes.count > 0) draw_lanes(x, lanes);
  });
}

}  // namespace s2s::S2S_ISA

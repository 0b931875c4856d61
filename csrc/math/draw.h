// One random value of a distribution of math/distribution.h. The numbers are Philox's, counted by example,
// path, step and channel, so that a path does not depend on what else is drawn.
#pragma once

#include "math/distribution.h"
#include "math/philox.h"

namespace s2s::math {

// The random numbers of one element: four at each call.
struct Draws {
  uint32_t key0, key1;
  Philox counter;  // path, step, channel, calls so far
};

// What all numbers of an example have in common.
S2S_INLINE Philox draws_key(uint64_t seed, int64_t example) {
  const auto id = static_cast<uint64_t>(example);
  const Philox named = {{static_cast<uint32_t>(id), static_cast<uint32_t>(id >> 32), 0x70617468u, 0u}};
  return philox(named, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}
S2S_INLINE Draws draws_of(const Philox& key, int32_t path, int32_t step, int64_t channel) {
  return {key.word[0],
          key.word[1],
          {{static_cast<uint32_t>(path), static_cast<uint32_t>(step), static_cast<uint32_t>(channel), 0u}}};
}
S2S_INLINE Philox next(Draws& draws) {
  const Philox words = philox(draws.counter, draws.key0, draws.key1);
  ++draws.counter.word[3];
  return words;
}
S2S_INLINE double open_uniform(uint32_t word) {  // in (0, 1)
  return (word + 0.5) * 0x1p-32;
}

// Box & Muller 1958; u and v of open_uniform.
template <class D>
S2S_INLINE D draw_normal(D u, D v) {
  return sqrt_double(constant_double(-2.0, u) * log_double(u)) * cos_of_turn(v);
}
// Bailey 1994: the same for Student's t.
template <class D>
S2S_INLINE D draw_student_t(D u, D v, D freedom) {
  const D square = freedom * exp_minus_one(constant_double(-2.0, u) / freedom * log_double(u));
  return sqrt_double(square) * cos_of_turn(v);
}
// Of the raw scale a1, and of Student's t the raw degrees of freedom a2: what lies beside the location.
template <class D>
S2S_INLINE D normal_deviation(D u, D v, D a1) {
  return positive_of(a1) * draw_normal(u, v);
}
template <class D>
S2S_INLINE D student_t_deviation(D u, D v, D a1, D a2) {
  return positive_of(a1) * draw_student_t(u, v, constant_double(2.0, u) + positive_of(a2));
}

// Marsaglia & Tsang 2000, with scale 1.
S2S_INLINE double draw_gamma(double shape, Draws& draws) {
  double boost = 1.0;
  if (shape < 1.0) {
    boost = exp_double(log_double(open_uniform(next(draws).word[0])) / shape);
    shape += 1.0;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / sqrt_double(9.0 * d);
  for (int tries = 0; tries < 64; ++tries) {  // each succeeds with a probability above 0.95
    const Philox words = next(draws);
    const double x = draw_normal(open_uniform(words.word[0]), open_uniform(words.word[1])), t = 1.0 + c * x;
    if (t <= 0.0) continue;
    const double v = t * t * t;
    if (log_double(open_uniform(words.word[2])) < 0.5 * x * x + d - d * v + d * log_double(v)) {
      return boost * d * v;
    }
  }
  return boost * d;
}

// By inversion for small rates, Hoermann 1993 (PTRS) for others; beyond 1e6 the normal's rounding.
S2S_INLINE double draw_poisson(double rate, Draws& draws) {
  if (rate < 10.0) {
    double p = exp_double(-rate), k = 0.0, left = open_uniform(next(draws).word[0]) - p;
    while (left > 0.0 && k < 200.0) {
      k += 1.0;
      p *= rate / k;
      left -= p;
    }
    return k;
  }
  if (rate > 1e6) {
    const Philox words = next(draws);
    const double normal = draw_normal(open_uniform(words.word[0]), open_uniform(words.word[1]));
    return floor_double(rate + sqrt_double(rate) * normal + 0.5);
  }
  const double b = 0.931 + 2.53 * sqrt_double(rate), a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), most = 0.9277 - 3.6224 / (b - 2.0);
  const double log_rate = log_double(rate);
  for (int tries = 0; tries < 256; ++tries) {
    const Philox words = next(draws);
    const double u = open_uniform(words.word[0]) - 0.5, v = open_uniform(words.word[1]);
    const double us = 0.5 - absolute_double(u), k = floor_double((2.0 * a / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= most) return k;
    if (k < 0.0 || (us < 0.013 && v > us)) continue;
    if (log_double(v) + log_double(inverse_alpha) - log_double(a / (us * us) + b) <=
        k * log_rate - rate - log_gamma(k + 1.0)) {
      return k;
    }
  }
  return floor_double(rate);
}

// The inverse of the distribution function, linear between the levels and constant beyond them.
S2S_INLINE double draw_quantile(const float* a, const Element& e, double u) {
  int64_t j = 0;
  while (j < e.n && u >= e.levels[j]) ++j;
  if (j == 0) return a[0];
  if (j == e.n) return a[e.n - 1];
  const double low = e.levels[j - 1], part = (u - low) / (e.levels[j] - low);
  return a[j - 1] + part * (static_cast<double>(a[j]) - a[j - 1]);
}

// In the network's units; e.y is not read. Of point, its mean.
S2S_INLINE double draw(Distribution kind, const float* a, const Element& e, Draws draws) {
  if (kind == Distribution::point) return a[0] + e.offset;
  if (kind == Distribution::negative_binomial) {
    const double mean = e.scale * positive(a[0]), alpha = positive(a[1]);
    return draw_poisson(draw_gamma(1.0 / alpha, draws) * alpha * mean, draws) / e.scale;
  }
  const Philox words = next(draws);
  const double u = open_uniform(words.word[0]), v = open_uniform(words.word[1]);
  if (kind == Distribution::quantiles) return draw_quantile(a, e, u) + e.offset;
  return a[0] + e.offset +
         (kind == Distribution::normal ? normal_deviation(u, v, double{a[1]})
                                       : student_t_deviation(u, v, double{a[1]}, double{a[2]}));
}

}  // namespace s2s::math

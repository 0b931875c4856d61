// The distributions of one real value y by raw parameters a (what a linear layer gives), each written once:
// loss, its gradient, and the parameters in their own units. s(x) = ln(1 + e^x) + 1e-4. y, offset and the
// location are in the units of the network; `scale` says how many of a count's units those are.
//   point              m = a0 + offset                           loss (y - m)^2
//   normal             m, s(a1)                                  -ln N(y; m, s)
//   student_t          m, s(a1), 2 + s(a2) degrees of freedom    -ln t((y - m) / s) + ln s
//   negative_binomial  mean mu = scale s(a0), alpha = s(a1)      -ln NB(scale y; mu, variance mu + alpha
//   mu^2) quantiles          q_j = a_j + offset, of the levels p_j     the mean over j of 2 max(p (y - q), (p
//   - 1) (y - q))
// Student's t as GluonTS has it, the negative binomial as Salmon et al. 2020 (DeepAR), the loss of quantiles
// so that it approaches the CRPS. In double: differences of ln gamma cancel.
#pragma once

#include "math/gamma.h"

namespace s2s::math {

enum class Distribution : int32_t { point, normal, student_t, negative_binomial, quantiles };

// What an element is judged by, besides its raw parameters.
struct Element {
  double y, offset, scale;
  const float* levels;  // [n] of quantiles
  int64_t n;            // raw parameters
};

template <class D>
S2S_INLINE D positive_of(D x) {
  const auto c = [&](double v) { return constant_double(v, x); };
  // log1p would be twice as slow, and is as good only without the 1e-4.
  return select_less(c(30.0), x, x, log_double(c(1.0) + exp_double(x))) + c(1e-4);
}
S2S_INLINE double positive(double x) {
  return positive_of(x);
}
S2S_INLINE double positive_slope(double x) {  // of positive()
  return 1.0 / (1.0 + exp_double(-x));
}

// A loss and its gradients by up to three raw parameters.
struct LossOfThree {
  double loss, d0, d1, d2;
};

S2S_INLINE LossOfThree point_loss(const float* a, const Element& e) {
  const double below = e.y - a[0] - e.offset;
  return {below * below, -2.0 * below, 0.0, 0.0};
}

S2S_INLINE LossOfThree normal_loss(const float* a, const Element& e) {
  const double s = positive(a[1]), u = (e.y - a[0] - e.offset) / s;
  return {log_double(s) + 0.5 * u * u + 0.91893853320467274178, -u / s,
          (1.0 - u * u) / s * positive_slope(a[1]), 0.0};
}

S2S_INLINE LossOfThree student_t_loss(const float* a, const Element& e) {
  const double s = positive(a[1]), v = 2.0 + positive(a[2]);
  const double u = (e.y - a[0] - e.offset) / s, square = u * u, half = 0.5 * v;
  const double tail = log1p_double(square / v), pull = (v + 1.0) / (v + square);
  const double loss = log_double(s) + 0.5 * log_double(v * 3.14159265358979323846) + log_gamma(half) -
                      log_gamma(half + 0.5) + 0.5 * (v + 1.0) * tail;
  const double by_v = 0.5 * (1.0 / v + digamma(half) - digamma(half + 0.5) + tail - pull * square / v);
  return {loss, -pull * u / s, (1.0 - pull * square) / s * positive_slope(a[1]), by_v * positive_slope(a[2])};
}

S2S_INLINE LossOfThree negative_binomial_loss(const float* a, const Element& e) {
  const double k = e.y * e.scale, mu = e.scale * positive(a[0]), alpha = positive(a[1]), r = 1.0 / alpha;
  const double loss = log_gamma(r) + log_gamma(k + 1.0) - log_gamma(k + r) + r * log1p_double(alpha * mu) +
                      k * log1p_double(r / mu);
  const double by_mu = (r + k) / (r + mu) - k / mu;
  const double by_r = digamma(r) - digamma(k + r) + log1p_double(alpha * mu) + (k - mu) / (r + mu);
  return {loss, by_mu * e.scale * positive_slope(a[0]), -r * r * by_r * positive_slope(a[1]), 0.0};
}

S2S_INLINE double quantile_losses(const float* a, const Element& e, double factor, float* da) {
  const double share = 2.0 / static_cast<double>(e.n);
  double loss = 0.0;
  for (int64_t j = 0; j < e.n; ++j) {
    const double below = e.y - a[j] - e.offset;
    const double slope = below >= 0.0 ? e.levels[j] : e.levels[j] - 1.0;
    loss += share * slope * below;
    if (da) da[j] = static_cast<float>(-share * slope * factor);
  }
  return loss;
}

// Writes the gradients times `factor` to da [n], where there is one.
S2S_INLINE double distribution_loss(Distribution kind, const float* a, const Element& e, double factor,
                                    float* da) {
  if (kind == Distribution::quantiles) return quantile_losses(a, e, factor, da);
  const LossOfThree found = kind == Distribution::point       ? point_loss(a, e)
                            : kind == Distribution::normal    ? normal_loss(a, e)
                            : kind == Distribution::student_t ? student_t_loss(a, e)
                                                              : negative_binomial_loss(a, e);
  if (da) {
    da[0] = static_cast<float>(found.d0 * factor);
    if (e.n > 1) da[1] = static_cast<float>(found.d1 * factor);
    if (e.n > 2) da[2] = static_cast<float>(found.d2 * factor);
  }
  return found.loss;
}

// a [n] -> location and scale, degrees of freedom, or mean and alpha, or quantiles; in the network's units.
S2S_INLINE void distribution_parameters(Distribution kind, const float* a, double offset, int64_t n,
                                        float* out) {
  for (int64_t j = 0; j < n; ++j) {
    const bool moves = kind == Distribution::quantiles || (j == 0 && kind != Distribution::negative_binomial);
    const double least = kind == Distribution::student_t && j == 2 ? 2.0 : 0.0;
    out[j] = static_cast<float>(moves ? a[j] + offset : least + positive(a[j]));
  }
}

}  // namespace s2s::math

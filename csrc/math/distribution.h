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

S2S_INLINE double softplus(double x) {
  return x > 30.0 ? x : log1p_double(exp_double(x));
}
S2S_INLINE double positive(double x) {
  return softplus(x) + 1e-4;
}
S2S_INLINE double positive_slope(double x) {  // of positive()
  return 1.0 / (1.0 + exp_double(-x));
}

S2S_INLINE double normal_loss(const float* a, const Element& e, double d[3]) {
  const double s = positive(a[1]), u = (e.y - a[0] - e.offset) / s;
  d[0] = -u / s;
  d[1] = (1.0 - u * u) / s * positive_slope(a[1]);
  return log_double(s) + 0.5 * u * u + 0.91893853320467274178;
}

S2S_INLINE double student_t_loss(const float* a, const Element& e, double d[3]) {
  const double s = positive(a[1]), v = 2.0 + positive(a[2]);
  const double u = (e.y - a[0] - e.offset) / s, square = u * u, half = 0.5 * v;
  const double tail = log1p_double(square / v), pull = (v + 1.0) / (v + square);
  d[0] = -pull * u / s;
  d[1] = (1.0 - pull * square) / s * positive_slope(a[1]);
  d[2] =
      0.5 * (1.0 / v + digamma(half) - digamma(half + 0.5) + tail - pull * square / v) * positive_slope(a[2]);
  return log_double(s) + 0.5 * log_double(v * 3.14159265358979323846) + log_gamma(half) -
         log_gamma(half + 0.5) + 0.5 * (v + 1.0) * tail;
}

S2S_INLINE double negative_binomial_loss(const float* a, const Element& e, double d[3]) {
  const double k = e.y * e.scale, mu = e.scale * positive(a[0]), alpha = positive(a[1]), r = 1.0 / alpha;
  d[0] = ((r + k) / (r + mu) - k / mu) * e.scale * positive_slope(a[0]);
  d[1] = -r * r * (digamma(r) - digamma(k + r) + log1p_double(alpha * mu) + (k - mu) / (r + mu)) *
         positive_slope(a[1]);
  return log_gamma(r) + log_gamma(k + 1.0) - log_gamma(k + r) + r * log1p_double(alpha * mu) +
         k * log1p_double(r / mu);
}

// Writes the gradients times `factor` to da [n], where there is one.
S2S_INLINE double distribution_loss(Distribution kind, const float* a, const Element& e, double factor,
                                    float* da) {
  double d[3] = {0.0, 0.0, 0.0}, loss = 0.0;
  switch (kind) {
    case Distribution::quantiles: {
      const double share = 2.0 / static_cast<double>(e.n);
      for (int64_t j = 0; j < e.n; ++j) {
        const double below = e.y - a[j] - e.offset;
        const double slope = below >= 0.0 ? e.levels[j] : e.levels[j] - 1.0;
        loss += share * slope * below;
        if (da) da[j] = static_cast<float>(-share * slope * factor);
      }
      return loss;
    }
    case Distribution::point: {
      const double below = e.y - a[0] - e.offset;
      d[0] = -2.0 * below;
      loss = below * below;
      break;
    }
    case Distribution::normal:
      loss = normal_loss(a, e, d);
      break;
    case Distribution::student_t:
      loss = student_t_loss(a, e, d);
      break;
    case Distribution::negative_binomial:
      loss = negative_binomial_loss(a, e, d);
      break;
  }
  for (int64_t j = 0; da && j < e.n; ++j) da[j] = static_cast<float>(d[j] * factor);
  return loss;
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

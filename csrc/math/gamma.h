// log and its like in double on host and device (vectors bring their own: cpu/detail/doubles.h), and ln
// gamma(x) and its derivative for x > 0 by Stirling's series (Abramowitz & Stegun 6.1.41, 6.3.18), after x
// has been shifted to at least 8: an error below 1e-13. The C library's lgamma writes a global variable, and
// so is not for threads.
#pragma once

#include "math/scalar.h"

namespace s2s::math {

#if defined(__CUDA_ARCH__)
#define S2S_LIBM(name, x) ::name(x)
#else
#define S2S_LIBM(name, x) __builtin_##name(x)
#endif
S2S_INLINE double exp_double(double x) {
  return S2S_LIBM(exp, x);
}
S2S_INLINE double log_double(double x) {
  return S2S_LIBM(log, x);
}
S2S_INLINE double log1p_double(double x) {
  return S2S_LIBM(log1p, x);
}
S2S_INLINE double sqrt_double(double x) {
  return S2S_LIBM(sqrt, x);
}
// cos(2 pi turn). CUDA's cos keeps large arguments' reduction on the stack, cospi has none.
S2S_INLINE double cos_of_turn(double turn) {
#if defined(__CUDA_ARCH__)
  return ::cospi(2.0 * turn);
#else
  return __builtin_cos(6.28318530717958647692 * turn);
#endif
}
S2S_INLINE double floor_double(double x) {
  return S2S_LIBM(floor, x);
}
S2S_INLINE double constant_double(double x, double) {
  return x;
}
S2S_INLINE double select_less(double a, double b, double x, double y) {
  return a < b ? x : y;
}
// e^x - 1 for x >= 0, to 1e-9 of it.
template <class D>
S2S_INLINE D exp_minus_one(D x) {
  const auto c = [&](double v) { return constant_double(v, x); };
  const D near = x * (c(1.0) + x * (c(0.5) + x * c(1.0 / 6.0)));
  return select_less(x, c(1e-5), near, exp_double(x) - c(1.0));
}
S2S_INLINE double absolute_double(double x) {
  return x < 0.0 ? -x : x;
}
#undef S2S_LIBM

S2S_INLINE double log_gamma(double x) {
  double product = 1.0;  // x (x + 1) ... up to 8; of x <= 0 the result is NaN
  for (int i = 0; i < 8 && x < 8.0; ++i, x += 1.0) product *= x;
  const double r = 1.0 / x, s = r * r;
  double series = -691.0 / 360360.0;
  series = series * s + 1.0 / 1188.0;
  series = series * s - 1.0 / 1680.0;
  series = series * s + 1.0 / 1260.0;
  series = series * s - 1.0 / 360.0;
  series = series * s + 1.0 / 12.0;
  return (x - 0.5) * log_double(x) - x + 0.91893853320467274178 + series * r - log_double(product);
}

S2S_INLINE double digamma(double x) {
  double shift = 0.0;
  for (int i = 0; i < 8 && x < 8.0; ++i, x += 1.0) shift += 1.0 / x;
  const double r = 1.0 / x, s = r * r;
  double series = 691.0 / 32760.0;
  series = series * s - 1.0 / 132.0;
  series = series * s + 1.0 / 240.0;
  series = series * s - 1.0 / 252.0;
  series = series * s + 1.0 / 120.0;
  series = series * s - 1.0 / 12.0;
  return log_double(x) - 0.5 * r + series * s - shift;
}

}  // namespace s2s::math

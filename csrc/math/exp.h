// exp, sigmoid and tanh for float and for vectors of float, to about one unit in the last place. T brings the
// operations of math/scalar.h. Polynomials: minimax fits of our own (relative error 3e-9 and 4e-9 before
// rounding).
#pragma once

#include "math/scalar.h"

namespace s2s::math {

constexpr float kLeastExponent = -87.3f, kLargestExponent = 88.37f;

// e^x for these exponents and those between, NaN for NaN. x = n ln 2 + r, |r| <= ln 2 / 2.
template <class T>
S2S_INLINE T exp_within(T x) {
  const auto c = [&](float v) { return constant(v, x); };
  const T round = c(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
  const T magic = fma(x, c(1.44269504f), round);
  const T n = magic - round;
  T r = fma(n, c(-0.693359375f), x);
  r = fma(n, c(2.12194440e-4f), r);
  T p = fma(c(1.3814467e-3f), r, c(8.3687808e-3f));
  p = fma(p, r, c(4.1668393e-2f));
  p = fma(p, r, c(1.6666520e-1f));
  p = fma(p, r, c(0.49999994f));
  p = fma(p * r, r, r) + c(1.0f);
  return p * power_of_two(magic);
}

// e^x; 0 below -87, at most 2.4e38, NaN for NaN.
template <class T>
S2S_INLINE T exp(T x) {
  const T low = constant(kLeastExponent, x), high = constant(kLargestExponent, x);
  return select_less(x, low, constant(0.0f, x), exp_within(minimum(high, maximum(x, low))));
}

// e^x and a / b as sigmoid and tanh need them. `up`: e^x for x >= 0; down to 1e-38 it is enough for 1 + e^x.
// An absolute error of their results below 2e-7 is all that comes of what a GPU's own instructions lose,
// which take a fifth of the time.
template <class T>
S2S_INLINE T bounded_exp(T x, bool up) {
#if defined(__CUDA_ARCH__)
  return __expf(x);
#else
  const T least = up ? x : maximum(x, constant(kLeastExponent, x));
  return exp_within(minimum(constant(kLargestExponent, x), least));
#endif
}
template <class T>
S2S_INLINE T bounded_quotient(T a, T b) {
#if defined(__CUDA_ARCH__)
  return __fdividef(a, b);
#else
  return a / b;
#endif
}

template <class T>
S2S_INLINE T sigmoid(T x) {
  const T one = constant(1.0f, x);
  return bounded_quotient(one, one + bounded_exp(-x, false));
}

template <class T>
S2S_INLINE T tanh(T x) {
  const auto c = [&](float v) { return constant(v, x); };
  const T size = absolute(x);
  const T far = c(1.0f) - bounded_quotient(c(2.0f), bounded_exp(size + size, true) + c(1.0f));
  const T z = x * x;
  T p = fma(c(-5.6973840e-3f), z, c(2.0632546e-2f));
  p = fma(p, z, c(-5.3737797e-2f));
  p = fma(p, z, c(1.3331421e-1f));
  p = fma(p, z, c(-3.3333281e-1f));
  const T near = fma(p * z, x, x);
  return select_less(size, c(0.625f), near, copy_sign(far, x));
}
// From tanh's result.
template <class T>
S2S_INLINE T tanh_backward(T y, T dy) {
  return dy * (constant(1.0f, y) - y * y);
}

}  // namespace s2s::math

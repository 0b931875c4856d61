// exp, sigmoid and tanh for float and for vectors of float, to less than three units in the last place. T
// brings the operations of math/scalar.h. The polynomial is a minimax fit of our own (relative error 3e-9
// before rounding).
#pragma once

#include "math/scalar.h"

namespace s2s::math {

constexpr float kLeastExponent = -87.3f, kLargestExponent = 88.37f;

// e^x = (1 + rest) power for these exponents and those between; rest is NaN for NaN. x = n ln 2 + r, |r| <=
// ln 2 / 2, power = 2^n.
template <class T>
S2S_INLINE void split_exp(T x, T& rest, T& power) {
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
  rest = fma(p * r, r, r);
  power = power_of_two(magic);
}

// e^x; 0 below -87, at most 2.4e38, NaN for NaN.
template <class T>
S2S_INLINE T exp(T x) {
  const T low = constant(kLeastExponent, x), high = constant(kLargestExponent, x);
  T rest, power;
  split_exp(minimum(high, maximum(x, low)), rest, power);
  return select_less(x, low, constant(0.0f, x), (rest + constant(1.0f, x)) * power);
}

// An absolute error below 2e-7 is all that comes of what a GPU's own instructions lose, which take a fifth of
// the time.
template <class T>
S2S_INLINE T sigmoid(T x) {
  const T one = constant(1.0f, x);
#if defined(__CUDA_ARCH__)
  return __fdividef(one, one + __expf(-x));
#else
  const T low = constant(kLeastExponent, x), high = constant(kLargestExponent, x);
  T rest, power;
  split_exp(minimum(high, maximum(-x, low)), rest, power);
  return one / fma(rest + one, power, one);
#endif
}

// m / (m + 2), m = e^(2 x) - 1: the latter is exact to its last places near 0, too.
template <class T>
S2S_INLINE T tanh(T x) {
  const auto c = [&](float v) { return constant(v, x); };
  T rest, power;
  split_exp(minimum(c(40.0f), maximum(x + x, c(-40.0f))), rest, power);
  const T m = fma(rest, power, power - c(1.0f));
#if defined(__CUDA_ARCH__)
  return __fdividef(m, m + c(2.0f));
#else
  return m / (m + c(2.0f));
#endif
}
// From tanh's result.
template <class T>
S2S_INLINE T tanh_backward(T y, T dy) {
  return dy * (constant(1.0f, y) - y * y);
}

}  // namespace s2s::math

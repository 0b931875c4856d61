// Doubles: half as many lanes as Vec has floats, with log, exp, cos and sqrt to about 1e-13 of their results,
// for the formulas of math/draw.h. Products and sums are not fused: the same bits on every instruction set.
// The series are Taylor's.
#pragma once

#include "cpu/detail/random.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kDoubles = kLanes / 2;

typedef double NativeDoubles __attribute__((vector_size(kLanes * 4)));
typedef uint32_t HalfWords __attribute__((vector_size(kLanes * 2)));

struct Doubles {
  NativeDoubles v;
};

S2S_INLINE Doubles constant_double(double x, Doubles) {
  return {x - NativeDoubles{}};
}
S2S_INLINE Doubles operator+(Doubles a, Doubles b) {
  return {a.v + b.v};
}
S2S_INLINE Doubles operator-(Doubles a, Doubles b) {
  return {a.v - b.v};
}
S2S_INLINE Doubles operator*(Doubles a, Doubles b) {
  return {a.v * b.v};
}
S2S_INLINE Doubles operator/(Doubles a, Doubles b) {
  return {a.v / b.v};
}
// a < b ? x : y, lane by lane; a NaN compares false.
S2S_INLINE Doubles select_less(Doubles a, Doubles b, Doubles x, Doubles y) {
  return {a.v < b.v ? x.v : y.v};
}
S2S_INLINE Doubles sqrt_double(Doubles a) {
#if defined(__AVX512F__)
  return {_mm512_maskz_sqrt_pd(0xff, a.v)};
#elif defined(__AVX2__)
  return {_mm256_sqrt_pd(a.v)};
#else
  for (int i = 0; i < kDoubles; ++i) a.v[i] = __builtin_sqrt(a.v[i]);
  return a;
#endif
}

// c[0] + x (c[1] + x (c[2] + ...))
template <int N>
S2S_INLINE Doubles polynomial(const double (&c)[N], Doubles x) {
  Doubles sum = constant_double(c[N - 1], x);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; --i) sum = sum * x + constant_double(c[i], x);
  return sum;
}

// For normal x > 0, infinity and NaN. x = 2^e m, m from sqrt(1/2) to sqrt(2), ln m = 2 artanh((m - 1) / (m +
// 1)).
S2S_INLINE Doubles log_double(Doubles x) {
  constexpr uint64_t kLeast = 0x3fe6a09e667f3bcd, kOne = 0x3ff0000000000000, kMantissa = 0x000fffffffffffff;
  constexpr double kRound = 0x1.8p52;  // has an integer in its low bits
  const NativeLongs bits = (NativeLongs)x.v + (kOne - kLeast);
  const NativeLongs exponent = (bits >> 52) + ((NativeLongs)constant_double(kRound, x).v - 1023);
  const NativeDoubles e = (NativeDoubles)exponent - kRound;
  const Doubles m{(NativeDoubles)((bits & kMantissa) + kLeast)}, one = constant_double(1.0, x);
  const Doubles s = (m - one) / (m + one), z = s * s;
  constexpr double kSeries[] = {2.0,        2.0 / 3.0,  2.0 / 5.0,  2.0 / 7.0, 2.0 / 9.0,
                                2.0 / 11.0, 2.0 / 13.0, 2.0 / 15.0, 2.0 / 17.0};
  const Doubles found = s * polynomial(kSeries, z) + Doubles{e * 0.693147180559945309417};
  const Doubles huge = constant_double(__DBL_MAX__, x);
  return select_less(x, huge + huge, found, x);  // infinity and NaN as they are
}

// 0 below -700, at most e^700; NaN for NaN.
S2S_INLINE Doubles exp_double(Doubles x) {
  const Doubles most = constant_double(700.0, x), least = constant_double(-700.0, x);
  const Doubles given = x;
  x = select_less(x, least, least, x);
  x = select_less(most, x, most, x);
  const Doubles round = constant_double(0x1.8p52, x);
  const Doubles magic = x * constant_double(1.44269504088896340736, x) + round, n = magic - round;
  Doubles r = x - n * constant_double(0x1.62e42fefap-1, x);
  r = r - n * constant_double(0x1.cf79abc9e3b39p-40, x);
  constexpr double kSeries[] = {
      1.0,         1.0,          1.0 / 2.0,     1.0 / 6.0,      1.0 / 24.0,      1.0 / 120.0,
      1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40320.0, 1.0 / 362880.0, 1.0 / 3628800.0, 1.0 / 39916800.0};
  const Doubles power{(NativeDoubles)(((NativeLongs)magic.v << 52) + 0x3ff0000000000000)};
  return select_less(given, least, constant_double(0.0, x), polynomial(kSeries, r) * power);
}

// cos(2 pi turn) for turns from 0 to 1: -sin(2 pi w), w = 1/4 - |turn - 1/2|.
S2S_INLINE Doubles cos_of_turn(Doubles turn) {
  const Doubles half = turn - constant_double(0.5, turn);
  const Doubles size{(NativeDoubles)((NativeLongs)half.v & 0x7fffffffffffffff)};
  const Doubles x = (size - constant_double(0.25, turn)) * constant_double(6.28318530717958647692, turn);
  constexpr double kSeries[] = {1.0,
                                -1.0 / 6.0,
                                1.0 / 120.0,
                                -1.0 / 5040.0,
                                1.0 / 362880.0,
                                -1.0 / 39916800.0,
                                1.0 / 6227020800.0,
                                -1.0 / 1307674368000.0,
                                1.0 / 355687428096000.0,
                                -1.0 / 121645100408832000.0};
  return x * polynomial(kSeries, x * x);
}

// math/draw.h's open_uniform of the lower (HIGH = 0) or upper (1) half of the words.
template <int HIGH, int... I>
S2S_INLINE Doubles open_uniforms(NativeWords words, std::integer_sequence<int, I...>) {
  const HalfWords half = __builtin_shufflevector(words, words, (I + HIGH * kDoubles)...);
  const NativeLongs bits =
      __builtin_convertvector(half, NativeLongs) | 0x4330000000000000;  // 2^52 + the word
  return {((NativeDoubles)bits - (0x1p52 - 0.5)) * 0x1p-32};
}
template <int HIGH>
S2S_INLINE Doubles open_uniforms(NativeWords words) {
  return open_uniforms<HIGH>(words, std::make_integer_sequence<int, kDoubles>());
}

}  // namespace
}  // namespace s2s::S2S_ISA

// One parameter's update by each optimiser, with PyTorch's semantics. `decay` is the weight decay for this
// parameter (or 0).
#pragma once

#include "math/scalar.h"

namespace s2s::math {

// Adam (Kingma & Ba 2015); decoupled: AdamW (Loshchilov & Hutter 2019).
template <class T>
struct Adam {
  T lr, beta1, beta2, eps;
  T rest2;                 // 1 - beta2, rounded once
  T step_size;             // lr / (1 - beta1^step)
  T inverse_root_correct;  // 1 / sqrt(1 - beta2^step)
  bool decoupled;
};

// base^exponent for a whole exponent, by squaring: the same bits with every library.
S2S_INLINE double power(double base, int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

// The rates of update `step` (1 for the first), computed in double and rounded once.
template <class T>
S2S_INLINE Adam<T> adam_rates(double lr, double beta1, double beta2, double eps, int64_t step,
                              bool decoupled) {
  const auto c = [](double x) { return constant(static_cast<float>(x), T{}); };
  const double correct1 = 1.0 - power(beta1, step), correct2 = 1.0 - power(beta2, step);
  return {c(lr),
          c(beta1),
          c(beta2),
          c(eps),
          c(1.0 - beta2),
          c(lr / correct1),
          c(1.0 / __builtin_sqrt(correct2)),
          decoupled};
}

template <class T>
S2S_INLINE void adam_unit(const Adam<T>& o, T decay, T& param, T grad, T& m, T& v) {
  const T one = constant(1.0f, param);
  if (o.decoupled) {
    param = param * (one - o.lr * decay);
  } else {
    grad = fma(decay, param, grad);
  }
  m = fma(o.beta1, m - grad, grad);
  v = fma(o.beta2, v, o.rest2 * grad * grad);
  param = param - o.step_size * m / fma(square_root(v), o.inverse_root_correct, o.eps);
}

// SGD with momentum; `first` starts the momentum buffer with the gradient.
template <class T>
struct Sgd {
  T lr, momentum;
  bool has_momentum, nesterov, first;
};

template <class T>
S2S_INLINE void sgd_unit(const Sgd<T>& o, T decay, T& param, T grad, T& buffer) {
  grad = fma(decay, param, grad);
  if (o.has_momentum) {
    buffer = o.first ? grad : fma(o.momentum, buffer, grad);
    grad = o.nesterov ? fma(o.momentum, buffer, grad) : buffer;
  }
  param = param - o.lr * grad;
}

// Adagrad (Duchi et al. 2011).
template <class T>
struct Adagrad {
  T lr, eps;
};

template <class T>
S2S_INLINE void adagrad_unit(const Adagrad<T>& o, T decay, T& param, T grad, T& sum) {
  grad = fma(decay, param, grad);
  sum = fma(grad, grad, sum);
  param = param - o.lr * grad / (square_root(sum) + o.eps);
}

// Exponential moving average.
template <class T>
S2S_INLINE void average_unit(T weight, T& average, T param) {
  average = fma(weight, param - average, average);
}

}  // namespace s2s::math

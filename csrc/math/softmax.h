// What softmax, its gradients and cross-entropy compute of one element, or of the sums over its row:
// top = the largest x, total = sum exp(x - top).
#pragma once

#include "math/exp.h"

namespace s2s::math {

template <class T>
S2S_INLINE T softmax(T x, T top, T inverse_total) {
  return exp(x - top) * inverse_total;
}
template <class T>
S2S_INLINE T log_softmax(T x, T top, T log_total) {
  return (x - top) - log_total;
}

// sum: over the row, of dy y.
template <class T>
S2S_INLINE T softmax_backward(T y, T dy, T sum) {
  return y * (dy - sum);
}
// sum: over the row, of dy.
template <class T>
S2S_INLINE T log_softmax_backward(T y, T dy, T sum) {
  return dy - exp(y) * sum;
}

// -log p(target); `at_target` is its logit.
S2S_INLINE float negative_log_likelihood(float at_target, float top, float log_total) {
  return (top - at_target) + log_total;
}
// mean_below: the mean of top - x over the row: small terms, so that large logits of like size do not cancel.
S2S_INLINE float smoothed_loss(float nll, float smoothing, float mean_below, float log_total) {
  return (1.0f - smoothing) * nll + smoothing * (mean_below + log_total);
}

// The gradient of a row: factor exp(x - top) - off, and `hit` less at the target.
struct CrossEntropyRates {
  float factor, off, hit;
};
S2S_INLINE CrossEntropyRates cross_entropy_rates(float scale, float smoothing, float total, int64_t classes) {
  const float uniform = smoothing / static_cast<float>(classes);
  return {scale / total, scale * uniform, scale * (1.0f - smoothing)};
}
template <class T>
S2S_INLINE T cross_entropy_gradient(T x, T top, T factor, T off) {
  return fma(exp(x - top), factor, -off);
}

}  // namespace s2s::math

// The mixture of generating and copying (See et al. 2017): P = (1 - c) q + c a, c = sigmoid(gate), q the
// softmax' probability of a token, a the attention on the places of the source that hold it. In logarithms,
// so that no small probability is lost.
#pragma once

#include "math/softmax.h"

namespace s2s::math {

S2S_INLINE float log_sigmoid(float x) {
  return x < 0.0f ? x - log(1.0f + exp(x)) : -log(1.0f + exp(-x));
}

// log(e^a + e^b); either may be -infinity.
S2S_INLINE float log_add(float a, float b) {
  const float top = a < b ? b : a, low = a < b ? a : b;
  return low == -__builtin_inff() ? top : top + log(1.0f + exp(low - top));
}

S2S_INLINE float log_copied(float gate, float mass) {
  return mass > 0.0f ? log_sigmoid(gate) + log(mass) : -__builtin_inff();
}

// Of one target: -log P, and the share of P that was generated.
struct CopyTerms {
  float nll, generated;
};
// log_q: -infinity for a token outside the vocabulary.
S2S_INLINE CopyTerms copy_terms(float gate, float log_q, float mass) {
  const float generated = log_sigmoid(-gate) + log_q, nll = -log_add(generated, log_copied(gate, mass));
  return {nll, exp(generated + nll)};
}

// Gradients of a row's loss (1 - s) nll + s (mean of -log q): of the gate, of the attention on the target's
// places, and of the logits.
struct CopyRates {
  float dgate, dweight;
  CrossEntropyRates logits;
};
S2S_INLINE CopyRates copy_rates(float scale, float smoothing, float total, int64_t classes, float gate,
                                CopyTerms terms) {
  const float rate = scale * (1.0f - smoothing), uniform = smoothing / static_cast<float>(classes);
  // c / P, which is large where the source's attention is nowhere near the target: there the weights, by
  // which it is multiplied, are small. The bound keeps it finite.
  const float log_ratio = log_sigmoid(gate) + terms.nll;
  return {rate * (sigmoid(gate) - (1.0f - terms.generated)),
          -rate * exp(log_ratio < 69.0f ? log_ratio : 69.0f),
          {(rate * terms.generated + scale * smoothing) / total, scale * uniform, rate * terms.generated}};
}

}  // namespace s2s::math

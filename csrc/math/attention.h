// The terms of attention: each adds the part of one element to a sum that the caller keeps.
#pragma once

#include "math/exp.h"

namespace s2s::math {

// score = energy . tanh(query + key)
template <class T>
S2S_INLINE T mlp_score(T energy, T query, T key, T score) {
  return fma(energy, tanh(query + key), score);
}

// dw = dcontext . value, up to a constant, which dscore takes out again: the context is taken from the values
// first, so that what is left is the rounding of their differences.
template <class T>
S2S_INLINE T dweight(T dcontext, T value, T context, T dw) {
  return fma(dcontext, value - context, dw);
}

// dscore_s = w_s (dw_s - mean), mean = sum w dw / sum w. The dscores of a row must sum to zero although its
// weights sum to one only to within rounding: hence the double.
S2S_INLINE float dscore(float w, float dw, double mean) {
  return static_cast<float>(w * (dw - mean));
}

// mlp, t = tanh(query + key): dkey += energy (1 - t^2) dscore, denergy += t dscore, and for the query, since
// the dscores of a row sum to zero, dquery -= energy t^2 dscore: without the part that would only cancel.
template <class T>
S2S_INLINE void mlp_gradient(T dscore, T energy, T query, T key, T& dquery, T& dkey, T& denergy) {
  const T t = tanh(query + key);
  const T e = dscore * energy, square = t * t;
  dquery = fma(-e, square, dquery);
  dkey = fma(e, constant(1.0f, t) - square, dkey);
  denergy = fma(dscore, t, denergy);
}

}  // namespace s2s::math

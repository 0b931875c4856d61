// What layer normalisation computes of one element, from the mean and 1 / deviation of its row.
#pragma once

#include "math/scalar.h"

namespace s2s::math {

template <class T>
S2S_INLINE T normalized(T x, T mean, T inverse_deviation) {
  return (x - mean) * inverse_deviation;
}
template <class T>
S2S_INLINE T layer_norm(T x, T mean, T inverse_deviation, T weight, T bias) {
  return fma(normalized(x, mean, inverse_deviation), weight, bias);
}
// g = dy weight; means over the row: of g, and of g times the normalised x.
template <class T>
S2S_INLINE T layer_norm_backward(T normal, T g, T mean_g, T mean_gx, T inverse_deviation) {
  return (g - mean_g - normal * mean_gx) * inverse_deviation;
}
S2S_INLINE float inverse_deviation(float squares, int64_t width, float eps) {
  return 1.0f / square_root(squares / static_cast<float>(width) + eps);
}

}  // namespace s2s::math

// What losses over classes need of a row of logits.
#pragma once

#include "cuda/detail/row.h"
#include "math/softmax.h"

namespace s2s::cuda {

// The lowest index of the row's largest element; -1 where every element is NaN.
template <int THREADS>
__device__ __forceinline__ int argmax(const Row<THREADS>& row, float top) {
  int first = INT32_MAX;
  row.for_quads(
      [&](int c, float4 q) { each([&](float& x) { first = x >= top ? min(first, c) : first, ++c; }, q); });
  first = group_min<THREADS>(first);
  return first < row.width() ? first : -1;
}

template <int THREADS>
__device__ __forceinline__ float mean_below(const Row<THREADS>& row, float top) {
  float sum = 0.0f;
  row.for_quads(
      [&](int c, float4 q) { each([&](float& x) { sum += c++ < row.width() ? top - x : 0.0f; }, q); });
  return group_sum<THREADS>(sum) / static_cast<float>(row.width());
}

// The gradient of the row's logits, which it may take the place of once they have been read.
template <int THREADS>
__device__ __forceinline__ void write_gradient(const Row<THREADS>& row, float top,
                                               math::CrossEntropyRates rates, int target, float* gradient,
                                               bool aligned) {
  row.for_quads([&](int c, float4 q) {
    int at = c;
    each(
        [&](float& v) {
          v = math::cross_entropy_gradient(v, top, rates.factor, rates.off);
          if (at++ == target) v -= rates.hit;
        },
        q);
    store_quad(gradient + c, q, row.width() - c, aligned);
  });
}

}  // namespace s2s::cuda

// coverage_loss (See et al. 2017): loss_r = sum_s min(weights_rs, coverage_rs), coverage being the sum of the
// weights of the steps before, and its gradients times `scale`: of the smaller of the two (of equals the
// weight).
#pragma once

#include "core/tensor.h"

namespace s2s {

struct CoverageLossArgs {
  int64_t rows, width;
  const float* weights;   // [rows, width]
  const float* coverage;  // [rows, width]
  float scale;
  float* losses;     // [rows] out
  float* dweights;   // [rows, width] added to; null: no gradients
  float* dcoverage;  // [rows, width] out
};

namespace ops {
// dweights and dcoverage: both undefined, or neither.
void coverage_loss(const Tensor& weights, const Tensor& coverage, float scale, const Tensor& losses,
                   const Tensor& dweights, const Tensor& dcoverage);
}  // namespace ops
}  // namespace s2s

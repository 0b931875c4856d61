// layer_norm (Ba et al. 2016): y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance
// (the biased one) over each row: torch.nn.LayerNorm. Backward needs nothing but x: the statistics are
// computed anew.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct LayerNormArgs {
  int64_t rows, width;
  const float* x;  // [rows, width]
  int64_t x_stride;
  const float *weight, *bias;  // [width]
  float eps;
  float* y;  // [rows, width], may be x
  int64_t y_stride;
};
struct LayerNormBackwardArgs {
  int64_t rows, width;
  const float* x;  // [rows, width]
  int64_t x_stride;
  const float* weight;  // [width]
  float eps;
  const float* dy;  // [rows, width]
  int64_t dy_stride;
  float* dx;  // [rows, width] out, may be dy
  int64_t dx_stride;
  float* dweight;  // [rows, width] out: each row's part, dy times the normalised x
};

namespace ops {
constexpr float kLayerNormEps = 1e-5f;  // PyTorch's
void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y);
// dweight [rows, width] and contiguous; the gradient of bias is the column sum of dy.
void layer_norm_backward(const Tensor& x, const Tensor& weight, float eps, const Tensor& dy, const Tensor& dx,
                         const Tensor& dweight);
}  // namespace ops
}  // namespace s2s

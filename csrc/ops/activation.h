// tanh_backward: dx = dy * (1 - y^2), y = tanh(x) as forward left it. The forward is fused into matmul.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct TanhBackwardArgs {
  int64_t rows, width;
  const float* y;   // [rows, width]
  const float* dy;  // [rows, width]
  float* dx;        // [rows, width], may be dy
};

namespace ops {
void tanh_backward(const Tensor& y, const Tensor& dy, const Tensor& dx);
}
}  // namespace s2s

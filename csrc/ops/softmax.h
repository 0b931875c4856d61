// softmax and log_softmax over the last dimension, and their gradients from the forward's output y:
//   softmax: dx = y (dy - sum(dy y))        log_softmax: dx = dy - exp(y) sum(dy)
#pragma once

#include "core/tensor.h"

namespace s2s {

struct SoftmaxArgs {
  int64_t rows, width;
  const float* x;
  float* y;  // may be x
  bool log;
};
struct SoftmaxBackwardArgs {
  int64_t rows, width;
  const float* y;
  const float* dy;
  float* dx;  // may be dy
  bool log;
};

namespace ops {
void softmax(const Tensor& x, const Tensor& y, bool log);
void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, bool log);
}  // namespace ops
}  // namespace s2s

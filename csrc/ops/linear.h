// linear: y = x weight^T + bias, PyTorch's nn.Linear, composed of matmul. Every call packs the weights: a
// loop packs once (ops/matmul.h).
#pragma once

#include "core/tensor.h"
#include "ops/compute_type.h"

namespace s2s::ops {

// x [R, K], weight [N, K], bias [N] or undefined; int8 quantises each row of x and of weight.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias,
              ComputeType type = ComputeType::float32);

struct LinearGradient {
  Tensor dx, dweight, dbias;
};
// type: float32, or bfloat16 to round the factors of both products where the processor is fast at that.
LinearGradient linear_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               ComputeType type = ComputeType::float32);

}  // namespace s2s::ops

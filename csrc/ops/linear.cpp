#include "ops/linear.h"

#include "ops/check.h"
#include "ops/matmul.h"
#include "ops/reduce.h"

namespace s2s::ops {

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, ComputeType type) {
  const char* op = "linear";
  expect_matrix(op, "x", x);
  expect_matrix(op, "weight", weight);
  check(op, x.dim(1) == weight.dim(1), "Expected x of width ", weight.dim(1), " like weight, got ", x.dim(1),
        ".");
  if (bias.defined()) expect(op, "bias", bias, {weight.dim(0)});
  const Tensor y = Tensor::empty({x.dim(0), weight.dim(0)}, DType::f32, x.device());
  matmul(x, pack_transposed(weight, 0, type), y, {.bias = bias});
  return y;
}

LinearGradient linear_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, ComputeType type) {
  const char* op = "linear_backward";
  expect_training_type(op, type);
  expect_matrix(op, "x", x);
  expect_matrix(op, "weight", weight);
  check(op, x.dim(1) == weight.dim(1), "Expected x of width ", weight.dim(1), " like weight, got ", x.dim(1),
        ".");
  expect(op, "dy", dy, {x.dim(0), weight.dim(0)});
  const DeviceScope scope(common_device(op, {&dy, &x, &weight}));
  const ProductScope products(type);
  LinearGradient g{Tensor::empty(x.shape()), Tensor::empty(weight.shape()), Tensor::zeros({weight.dim(0)})};
  matmul(dy, pack(weight, product_type(weight.device())), g.dx);
  matmul_transposed(dy, x, g.dweight, false);
  column_sum(dy, g.dbias);
  return g;
}

}  // namespace s2s::ops

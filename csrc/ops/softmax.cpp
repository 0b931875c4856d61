#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void softmax(const Tensor& x, const Tensor& y, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  expect_matrix(op, "x", x);
  expect(op, "y", y, x.shape());
  kernels(common_device(op, {&x, &y})).softmax({x.dim(0), x.dim(1), x.f32(), y.f32(), log});
}

void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx, bool log) {
  const char* op = log ? "log_softmax_backward" : "softmax_backward";
  expect_matrix(op, "y", y);
  expect(op, "dy", dy, y.shape());
  expect(op, "dx", dx, y.shape());
  kernels(common_device(op, {&y, &dy, &dx}))
      .softmax_backward({y.dim(0), y.dim(1), y.f32(), dy.f32(), dx.f32(), log});
}

}  // namespace s2s::ops

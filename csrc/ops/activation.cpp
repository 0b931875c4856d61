#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void tanh_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  const char* op = "tanh_backward";
  expect_matrix(op, "y", y);
  expect(op, "dy", dy, y.shape());
  expect(op, "dx", dx, y.shape());
  for (const Tensor* t : {&y, &dy, &dx}) expect_contiguous(op, "every argument", *t);
  kernels(common_device(op, {&y, &dy, &dx})).tanh_backward({y.dim(0), y.dim(1), y.f32(), dy.f32(), dx.f32()});
}

}  // namespace s2s::ops

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

double squared_norm(const Tensor& x) {
  expect_dtype("squared_norm", "x", x, DType::f32);
  expect_contiguous("squared_norm", "x", x);
  double result = 0.0;
  kernels(x.device()).squared_norm({x.size(), x.f32(), &result});
  return result;
}

void scale(const Tensor& x, float factor) {
  expect_dtype("scale", "x", x, DType::f32);
  expect_contiguous("scale", "x", x);
  kernels(x.device()).scale({x.size(), x.f32(), factor});
}

void add(const Tensor& x, const Tensor& y) {
  expect_matrix("add", "x", x);
  expect("add", "y", y, x.shape());
  kernels(common_device("add", {&x, &y}))
      .add({x.dim(0), x.dim(1), x.f32(), x.row_stride(), y.f32(), y.row_stride()});
}

}  // namespace s2s::ops

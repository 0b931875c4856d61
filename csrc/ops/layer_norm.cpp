#include "ops/layer_norm.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

void check_eps(const char* op, float eps) {
  check(op, eps > 0.0f && eps < 1e30f, "Expected eps above 0, got ", eps, ".");
}

}  // namespace

void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps, const Tensor& y) {
  const char* op = "layer_norm";
  expect_matrix(op, "x", x);
  expect(op, "weight", weight, {x.dim(1)});
  expect(op, "bias", bias, {x.dim(1)});
  expect(op, "y", y, x.shape());
  check_eps(op, eps);
  kernels(common_device(op, {&x, &weight, &bias, &y}))
      .layer_norm({x.dim(0), x.dim(1), x.f32(), x.row_stride(), weight.f32(), bias.f32(), eps, y.f32(),
                   y.row_stride()});
}

void layer_norm_backward(const Tensor& x, const Tensor& weight, float eps, const Tensor& dy, const Tensor& dx,
                         const Tensor& dweight) {
  const char* op = "layer_norm_backward";
  expect_matrix(op, "x", x);
  expect(op, "weight", weight, {x.dim(1)});
  for (const auto& [name, t] : {std::pair{"dy", &dy}, {"dx", &dx}, {"dweight", &dweight}}) {
    expect(op, name, *t, x.shape());
  }
  expect_contiguous(op, "dweight", dweight);
  check_eps(op, eps);
  kernels(common_device(op, {&x, &weight, &dy, &dx, &dweight}))
      .layer_norm_backward({x.dim(0), x.dim(1), x.f32(), x.row_stride(), weight.f32(), eps, dy.f32(),
                            dy.row_stride(), dx.f32(), dx.row_stride(), dweight.f32()});
}

}  // namespace s2s::ops

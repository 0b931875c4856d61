#include "ops/unfold.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

UnfoldArgs checked(const char* op, const Tensor& x, const Tensor& y) {
  expect_matrix(op, "x", x);
  expect_matrix(op, "y", y);
  const int64_t width = y.dim(1);
  check(op, width % 2 == 1, "Expected an odd width, got ", width, ".");
  expect(op, "y", y, {x.size(), width});
  for (const Tensor* t : {&x, &y}) expect_contiguous(op, "x and y", *t);
  return {x.dim(0), x.dim(1), width, x.f32(), y.f32()};
}

}  // namespace

void unfold(const Tensor& x, const Tensor& y) {
  const UnfoldArgs args = checked("unfold", x, y);
  kernels(common_device("unfold", {&x, &y})).unfold(args);
}

void unfold_backward(const Tensor& dy, const Tensor& dx) {
  const UnfoldArgs args = checked("unfold_backward", dx, dy);
  kernels(common_device("unfold_backward", {&dx, &dy})).unfold_backward(args);
}

}  // namespace s2s::ops

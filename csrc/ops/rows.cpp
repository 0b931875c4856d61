#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void gather_rows(const Tensor& x, const Tensor& index, const Tensor& y) {
  const char* op = "gather_rows";
  expect_matrix(op, "x", x);
  expect_dtype(op, "index", index, DType::i32);
  expect(op, "y", y, {index.size(), x.dim(1)});
  for (int64_t i = 0; index.device().is_cpu() && i < index.size(); ++i) {
    const int32_t row = index.i32()[i];
    check(op, row >= -1 && row < x.dim(0), "Expected index from -1 to ", x.dim(0) - 1, ", got ", row, ".");
  }
  const Device device = common_device(op, {&x, &y});
  const Tensor placed = index.to(device);
  kernels(device).gather_rows(
      {index.size(), x.dim(1), x.f32(), x.row_stride(), placed.i32(), y.f32(), y.row_stride()});
}

Tensor swap_axes(const Tensor& x) {
  const char* op = "swap_axes";
  expect_dtype(op, "x", x, DType::f32);
  check(op, x.shape().rank() == 3, "Expected x of three dimensions, got shape ", x.shape(), ".");
  const int64_t A = x.dim(0), B = x.dim(1), W = x.dim(2);
  check(op, A * B <= INT32_MAX, "Expected x of at most ", INT32_MAX, " rows, got ", A * B, ".");
  const Tensor index = Tensor::host({A * B}, DType::i32);
  for (int64_t r = 0; r < A * B; ++r) index.i32()[r] = static_cast<int32_t>(r % A * B + r / A);
  const Tensor y = Tensor::empty({B, A, W}, DType::f32, x.device());
  gather_rows(x.reshape({A * B, W}), index, y.reshape({A * B, W}));
  return y;
}

}  // namespace s2s::ops

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

}  // namespace s2s::ops

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void column_sum(const Tensor& x, const Tensor& out) {
  const char* op = "column_sum";
  const bool rounded = x.dtype() == DType::bf16;
  expect_matrix(op, "x", x, rounded ? DType::bf16 : DType::f32);
  expect(op, "out", out, {x.dim(1)});
  ColumnSumArgs args{x.dim(0), x.dim(1), nullptr, nullptr, x.row_stride(), out.f32()};
  if (rounded) {
    args.rounded = static_cast<const uint16_t*>(x.data());
  } else {
    args.x = x.f32();
  }
  kernels(common_device(op, {&x, &out})).column_sum(args);
}

void segment_mean(const Tensor& x, const Tensor& offsets, const Tensor& out) {
  expect_matrix("segment_mean", "x", x);
  expect_dtype("segment_mean", "offsets", offsets, DType::i32);
  expect("segment_mean", "out", out, {offsets.size() - 1, x.dim(1)});
  const Device device = common_device("segment_mean", {&x, &out});
  const Tensor bounds = offsets.to(device);
  kernels(device).segment_mean({out.dim(0), x.dim(1), bounds.i32(), x.f32(), out.f32()});
}

void segment_mean_backward(const Tensor& dout, const Tensor& offsets, const Tensor& dx) {
  expect_matrix("segment_mean_backward", "dx", dx);
  expect_dtype("segment_mean_backward", "offsets", offsets, DType::i32);
  expect("segment_mean_backward", "dout", dout, {offsets.size() - 1, dx.dim(1)});
  const Device device = common_device("segment_mean_backward", {&dout, &dx});
  const Tensor bounds = offsets.to(device);
  kernels(device).segment_mean_backward({dout.dim(0), dx.dim(1), bounds.i32(), dx.f32(), dout.f32()});
}

}  // namespace s2s::ops

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void dropout(const Tensor& x, const Tensor& y, const Tensor& example, const Tensor& time, int32_t op_id,
             const Mask& mask) {
  const char* op = "dropout";
  expect_matrix(op, "x", x);
  expect(op, "y", y, x.shape());
  expect(op, "example", example, {x.dim(0)}, DType::i64);
  expect(op, "time", time, {x.dim(0)}, DType::i32);
  check(op, mask.p >= 0.0f && mask.p < 1.0f, "Expected p from 0 to below 1, got ", mask.p, ".");
  check(op, op_id >= 0 && op_id < 256, "Expected op from 0 to 255, got ", op_id, ".");
  const Device device = common_device(op, {&x, &y});
  const Tensor examples = example.to(device), times = time.to(device);
  kernels(device).dropout({x.dim(0), x.dim(1), x.f32(), x.row_stride(), y.f32(), y.row_stride(),
                           examples.i64(), times.i32(), mask.p, op_id, mask.seed, mask.update});
}

}  // namespace s2s::ops

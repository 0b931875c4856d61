#include "ops/sample.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void sample(const Tensor& x, const Tensor& u, const Tensor& index, const Tensor& ids) {
  const char* op = "sample";
  expect_matrix(op, "x", x);
  expect_contiguous(op, "x", x);
  expect(op, "u", u, {x.dim(0)});
  expect(op, "index", index, {x.dim(0)}, DType::i32);
  expect_dtype(op, "ids", ids, DType::i32);
  expect_ids(op, "index", index, ids.size());
  for (int64_t r = 0; u.device().is_cpu() && r < u.size(); ++r)
    check(op, u.f32()[r] >= 0.0f && u.f32()[r] < 1.0f, "Expected u from 0 to below 1, got ", u.f32()[r],
          " at position ", r, ".");
  const Device device = common_device(op, {&x, &ids});
  const Tensor numbers = u.to(device), rows = index.to(device);
  kernels(device).sample({x.dim(0), x.dim(1), x.f32(), numbers.f32(), rows.i32(), ids.i32()});
}

}  // namespace s2s::ops

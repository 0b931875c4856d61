#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void topk(const Tensor& x, bool log_softmax, const Tensor& values, const Tensor& indices) {
  const char* op = "topk";
  expect_matrix(op, "x", x);
  expect_matrix(op, "values", values);
  const int64_t k = values.dim(1);
  check(op, k >= 1 && k <= x.dim(1), "Expected k from 1 to ", x.dim(1), ", got ", k, ".");
  expect(op, "values", values, {x.dim(0), k});
  expect(op, "indices", indices, {x.dim(0), k}, DType::i32);
  kernels(common_device(op, {&x, &values, &indices}))
      .topk({x.dim(0), x.dim(1), k, x.f32(), log_softmax, values.f32(), indices.i32()});
}

}  // namespace s2s::ops

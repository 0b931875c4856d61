#include "ops/project_topk.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void project_topk(const Tensor& a, bool bounded, const Packed& b, const Tensor& bias, const Tensor& values,
                  const Tensor& indices) {
  const char* op = "project_topk";
  expect_matrix(op, "a", a);
  check(op, a.dim(1) == b.shape.k && b.shape.gates == 0, "Expected a of width ", b.shape.k, ", got ",
        a.dim(1), ".");
  if (bias.defined()) expect(op, "bias", bias, {b.shape.n});
  expect_matrix(op, "values", values);
  const int64_t best = values.dim(1);
  check(op, best >= 1 && best <= b.shape.n, "Expected k from 1 to ", b.shape.n, ", got ", best, ".");
  expect(op, "values", values, {a.dim(0), best});
  expect(op, "indices", indices, {a.dim(0), best}, DType::i32);
  kernels(common_device(op, {&a, &b.data, &bias, &values, &indices}))
      .project_topk({a.dim(0), b.shape.n, b.shape.k, a.f32(), a.row_stride(), b.shape.type, b.data.data(),
                     bounded ? 1.0f : 0.0f, bias.defined() ? bias.f32() : nullptr, best, values.f32(),
                     indices.i32()});
}

}  // namespace s2s::ops

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

EmbeddingArgs checked(const char* op, const Tensor& ids, const Tensor& table, const Tensor& out) {
  expect_matrix(op, "weight", table);
  expect_ids(op, "ids", ids, table.dim(0));
  expect(op, "output", out, {ids.size(), table.dim(1)});
  expect_contiguous(op, "weight", table);
  return {ids.size(), table.dim(1), ids.i32(), table.f32(), out.f32(), out.row_stride()};
}

}  // namespace

void embedding(const Tensor& ids, const Tensor& table, const Tensor& out) {
  kernels().embedding(checked("embedding", ids, table, out));
}

void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable) {
  kernels().embedding_backward(checked("embedding_backward", ids, dtable, dout));
}

}  // namespace s2s::ops

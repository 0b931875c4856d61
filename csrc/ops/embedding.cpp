#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

// `placed`: the ids where the table is.
EmbeddingArgs checked(const char* op, const Tensor& ids, const Tensor& table, const Tensor& out,
                      Tensor& placed) {
  expect_matrix(op, "weight", table);
  expect_ids(op, "ids", ids, table.dim(0));
  expect(op, "output", out, {ids.size(), table.dim(1)});
  expect_contiguous(op, "weight", table);
  placed = ids.to(common_device(op, {&table, &out}));
  return {ids.size(), table.dim(1), placed.i32(), table.f32(), out.f32(), out.row_stride()};
}

}  // namespace

void embedding(const Tensor& ids, const Tensor& table, const Tensor& out) {
  Tensor placed;
  const EmbeddingArgs args = checked("embedding", ids, table, out, placed);
  kernels(table.device()).embedding(args);
}

void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable) {
  Tensor placed;
  const EmbeddingArgs args = checked("embedding_backward", ids, dtable, dout, placed);
  kernels(dtable.device()).embedding_backward(args);
}

}  // namespace s2s::ops

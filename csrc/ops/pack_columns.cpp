#include "ops/pack_columns.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

Packed pack_columns(const Packed& whole, const Tensor& columns) {
  const char* op = "pack_columns";
  check(op, whole.shape.gates == 0, "Expected a plain matrix, got one packed by gates.");
  expect(op, "columns", columns, {columns.size()}, DType::i32);
  expect_ids(op, "columns", columns, whole.shape.n);
  PackShape shape = whole.shape;
  shape.n = columns.size();
  Packed packed;
  const Device device = whole.data.device();
  const Kernels& on = kernels(device);
  packed.data = Tensor::empty({on.packed_bytes(shape)}, DType::u8, device);
  packed.shape = shape;
  const Tensor index = columns.to(device);
  on.pack_columns({whole.shape, whole.data.data(), shape.n, index.i32(), packed.data.data()});
  return packed;
}

}  // namespace s2s::ops

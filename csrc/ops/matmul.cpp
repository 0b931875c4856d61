#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

Packed pack_strided(const Tensor& source, PackShape shape, int64_t k_stride, int64_t n_stride) {
  Packed packed{Tensor::empty({kernels().packed_size(shape)}), shape};
  kernels().pack({shape, source.f32(), k_stride, n_stride, packed.data.f32()});
  return packed;
}

}  // namespace

Packed pack(const Tensor& b) {
  expect_matrix("pack", "b", b);
  return pack_strided(b, {b.dim(0), b.dim(1), 0}, b.row_stride(), 1);
}

Packed pack_transposed(const Tensor& weight, int64_t gates) {
  expect_matrix("pack", "weight", weight);
  check("pack", gates == 0 || weight.dim(0) % gates == 0, "Expected rows of weight in ", gates,
        " equal gates, got ", weight.dim(0), ".");
  return pack_strided(weight, {weight.dim(1), weight.dim(0), gates}, 1, weight.row_stride());
}

void matmul(const Tensor& a, const Packed& b, const Tensor& c, const MatmulOptions& options) {
  const char* op = "matmul";
  expect_matrix(op, "a", a);
  check(op, a.dim(1) == b.shape.k && b.shape.gates == 0, "Expected a of width ", b.shape.k, ", got ",
        a.dim(1), ".");
  expect(op, "c", c, {a.dim(0), b.shape.n});
  if (options.bias.defined()) expect(op, "bias", options.bias, {b.shape.n});
  kernels().matmul({a.dim(0), b.shape.n, b.shape.k, a.f32(), a.row_stride(), 1, b.data.f32(), c.f32(),
                    c.row_stride(), options.bias.defined() ? options.bias.f32() : nullptr, options.activation,
                    options.accumulate});
}

void matmul_transposed(const Tensor& a, const Tensor& b, const Tensor& c, bool accumulate) {
  const char* op = "matmul_transposed";
  expect_matrix(op, "a", a);
  expect_matrix(op, "b", b);
  check(op, a.dim(0) == b.dim(0), "Expected b of ", a.dim(0), " rows like a, got ", b.dim(0), ".");
  expect(op, "c", c, {a.dim(1), b.dim(1)});
  const Packed packed = pack(b);
  kernels().matmul({a.dim(1), b.dim(1), a.dim(0), a.f32(), 1, a.row_stride(), packed.data.f32(), c.f32(),
                    c.row_stride(), nullptr, Activation::none, accumulate});
}

}  // namespace s2s::ops

#include <utility>

#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/scratch.h"

namespace s2s::ops {
namespace {

constexpr int64_t kWidestInt8 = 65536;  // a sum of 255 * 127 that often still fits 32 bits

thread_local ComputeType products = ComputeType::float32;

Tensor rounded(const Tensor& a) {
  if (a.dtype() == DType::bf16) return a;
  const int64_t rows = a.dim(0), width = a.dim(1), stride = (width + 31) / 32 * 32;
  const Tensor out = Tensor::empty({rows, stride}, DType::bf16, a.device());
  kernels().round({rows, width, a.f32(), a.row_stride(), static_cast<uint16_t*>(out.data()), stride});
  return out.columns(0, width);
}

Packed pack_strided(const Tensor& source, PackShape shape, int64_t k_stride, int64_t n_stride) {
  Packed packed;
  const Kernels& on = kernels(source.device());
  packed.data = Tensor::empty({on.packed_bytes(shape)}, DType::u8, source.device());
  packed.shape = shape;
  on.pack({shape, source.f32(), k_stride, n_stride, packed.data.data()});
  return packed;
}

// a as MatmulArgs takes it, float32 or rounded; the tensor must outlive the product.
Tensor set_left(const char* op, const Tensor& a, ComputeType type, MatmulArgs& args) {
  const bool pairs = type == ComputeType::bfloat16_pairs;
  expect_matrix(op, "a", a, pairs && a.dtype() == DType::bf16 ? DType::bf16 : DType::f32);
  if (!pairs) {
    args.a = a.f32();
    return a;
  }
  const Tensor narrow = rounded(a);
  args.rounded = static_cast<const uint16_t*>(narrow.data());
  return narrow;
}

}  // namespace

ProductScope::ProductScope(ComputeType type) : before_(std::exchange(products, type)) {}
ProductScope::~ProductScope() {
  products = before_;
}
ComputeType product_type(Device device, ComputeType type) {
  if (type != ComputeType::float32) return type;
  if (products == ComputeType::float32 || !device.is_cpu()) return products;
  return kernels().round ? ComputeType::bfloat16_pairs : ComputeType::float32;
}

Tensor left_factor(const Tensor& a) {
  return product_type(a.device()) == ComputeType::bfloat16_pairs ? rounded(a) : a;
}

Packed pack(const Tensor& b, ComputeType type) {
  expect_matrix("pack", "b", b);
  return pack_strided(b, {b.dim(0), b.dim(1), 0, type}, b.row_stride(), 1);
}

Packed pack_transposed(const Tensor& weight, int64_t gates, ComputeType type) {
  expect_matrix("pack", "weight", weight);
  check("pack", gates == 0 || weight.dim(0) % gates == 0, "Expected rows of weight in ", gates,
        " equal gates, got ", weight.dim(0), ".");
  check("pack", type != ComputeType::int8 || weight.dim(1) <= kWidestInt8, "Expected weight of at most ",
        kWidestInt8, " columns for int8, got ", weight.dim(1), ".");
  return pack_strided(weight, {weight.dim(1), weight.dim(0), gates, type}, 1, weight.row_stride());
}

void matmul(const Tensor& a, const Packed& b, const Tensor& c, const MatmulOptions& options) {
  const char* op = "matmul";
  MatmulArgs args{};
  args.type = b.shape.type;
  const Tensor left = set_left(op, a, args.type, args);
  check(op, a.dim(1) == b.shape.k && b.shape.gates == 0, "Expected a of width ", b.shape.k, ", got ",
        a.dim(1), ".");
  expect(op, "c", c, {a.dim(0), b.shape.n});
  if (options.bias.defined()) expect(op, "bias", options.bias, {b.shape.n});
  const Device device = common_device(op, {&a, &b.data, &c, &options.bias, &options.table});
  args.m = a.dim(0), args.n = b.shape.n, args.k = b.shape.k;
  args.a_row_stride = left.row_stride(), args.a_k_stride = 1;
  args.b = b.data.data();
  args.c = c.f32(), args.c_stride = c.row_stride();
  args.bias = options.bias.defined() ? options.bias.f32() : nullptr;
  args.activation = options.activation, args.accumulate = options.accumulate;
  check(op, options.step_rows == 0 || args.m % options.step_rows == 0, "Expected a of whole steps of ",
        options.step_rows, " rows, got ", args.m, ".");
  args.step_rows = options.step_rows;
  Tensor index;
  if (options.table.defined()) {
    expect(op, "table", options.table, {options.table.dim(0), b.shape.n});
    expect(op, "index", options.index, {args.m}, DType::i32);
    expect_ids(op, "index", options.index, options.table.dim(0));
    index = options.index.to(device);
    args.table = {options.table.f32(), options.table.row_stride(), index.i32()};
  }
  if (args.type == ComputeType::int8) {
    args.least_bound = options.bounded ? 1.0f : 0.0f;
    args.scratch = scratch_on(device, narrow_bytes(args.m, args.k));
  }
  kernels(device).matmul(args);
}

void matmul_transposed(const Tensor& a, const Tensor& b, const Tensor& c, bool accumulate) {
  const char* op = "matmul_transposed";
  expect_matrix(op, "b", b);
  MatmulArgs args{};
  args.type = product_type(b.device());
  const Tensor left = set_left(op, a, args.type, args);
  check(op, a.dim(0) == b.dim(0), "Expected b of ", a.dim(0), " rows like a, got ", b.dim(0), ".");
  expect(op, "c", c, {a.dim(1), b.dim(1)});
  const Packed packed = pack(b, args.type);
  args.m = a.dim(1), args.n = b.dim(1), args.k = a.dim(0);
  args.a_row_stride = 1, args.a_k_stride = left.row_stride();
  args.b = packed.data.data();
  args.c = c.f32(), args.c_stride = c.row_stride(), args.accumulate = accumulate;
  kernels(common_device(op, {&a, &b, &c})).matmul(args);
}

}  // namespace s2s::ops

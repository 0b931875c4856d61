#include <utility>

#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/scratch.h"

namespace s2s::ops {
namespace {

constexpr int64_t kWidestInt8 = 65536;  // a sum of 255 * 127 that often still fits 32 bits

thread_local ComputeType products = ComputeType::float32;

Packed pack_strided(const Tensor& source, PackShape shape, int64_t k_stride, int64_t n_stride) {
  Packed packed;
  const Kernels& on = kernels(source.device());
  packed.data = Tensor::empty({on.packed_bytes(shape)}, DType::u8, source.device());
  packed.shape = shape;
  on.pack({shape, source.f32(), k_stride, n_stride, packed.data.data()});
  return packed;
}

}  // namespace

ProductScope::ProductScope(ComputeType type) : before_(std::exchange(products, type)) {}
ProductScope::~ProductScope() {
  products = before_;
}
ComputeType product_type(Device device, ComputeType type) {
  if (type != ComputeType::float32) return type;
  if (products == ComputeType::float32 || !device.is_cpu()) return products;
  return kernels().pairs ? ComputeType::bfloat16_pairs : ComputeType::float32;
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
  expect_matrix(op, "a", a);
  check(op, a.dim(1) == b.shape.k && b.shape.gates == 0, "Expected a of width ", b.shape.k, ", got ",
        a.dim(1), ".");
  expect(op, "c", c, {a.dim(0), b.shape.n});
  if (options.bias.defined()) expect(op, "bias", options.bias, {b.shape.n});
  const Device device = common_device(op, {&a, &b.data, &c, &options.bias, &options.table});
  MatmulArgs args{};
  args.m = a.dim(0), args.n = b.shape.n, args.k = b.shape.k;
  args.a = a.f32(), args.a_row_stride = a.row_stride(), args.a_k_stride = 1;
  args.type = b.shape.type, args.b = b.data.data();
  args.c = c.f32(), args.c_stride = c.row_stride();
  args.bias = options.bias.defined() ? options.bias.f32() : nullptr;
  args.activation = options.activation, args.accumulate = options.accumulate, args.downward = b.turn();
  Tensor index;
  if (options.table.defined()) {
    expect(op, "table", options.table, {options.table.dim(0), b.shape.n});
    expect(op, "index", options.index, {args.m}, DType::i32);
    expect_ids(op, "index", options.index, options.table.dim(0));
    index = options.index.to(device);
    args.table = {options.table.f32(), options.table.row_stride(), index.i32()};
  }
  if (args.type == ComputeType::int8 || args.type == ComputeType::bfloat16_pairs) {
    args.least_bound = options.bounded ? 1.0f : 0.0f;
    args.scratch = scratch_on(device, narrow_bytes(args.m, args.k));
  }
  kernels(device).matmul(args);
}

void matmul_transposed(const Tensor& a, const Tensor& b, const Tensor& c, bool accumulate) {
  const char* op = "matmul_transposed";
  expect_matrix(op, "a", a);
  expect_matrix(op, "b", b);
  check(op, a.dim(0) == b.dim(0), "Expected b of ", a.dim(0), " rows like a, got ", b.dim(0), ".");
  expect(op, "c", c, {a.dim(1), b.dim(1)});
  const Packed packed = pack(b, product_type(b.device()));
  MatmulArgs args{};
  args.m = a.dim(1), args.n = b.dim(1), args.k = a.dim(0);
  args.a = a.f32(), args.a_row_stride = 1, args.a_k_stride = a.row_stride();
  args.type = packed.shape.type, args.b = packed.data.data();
  args.c = c.f32(), args.c_stride = c.row_stride(), args.accumulate = accumulate;
  kernels(common_device(op, {&a, &b, &c})).matmul(args);
}

}  // namespace s2s::ops

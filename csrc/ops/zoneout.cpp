#include "ops/zoneout.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

ZoneoutMask checked(const char* op, const Zoneout& z, int64_t rows) {
  check(op, z.p >= 0.0f && z.p <= 1.0f, "Expected p from 0 to 1, got ", z.p, ".");
  if (!z.example.defined()) return {nullptr, nullptr, z.p, 0, 0, 0, 0};
  expect(op, "example", z.example, {rows}, DType::i64);
  expect(op, "time", z.time, {rows}, DType::i32);
  check(op, z.op >= 0 && z.op < 256, "Expected op from 0 to 255, got ", z.op, ".");
  check(op, z.stream >= 0 && z.stream < 16, "Expected stream from 0 to 15, got ", z.stream, ".");
  return {z.example.i64(), z.time.i32(), z.p, z.op, z.stream, z.seed, z.update};
}

}  // namespace

void zoneout(const Tensor& before, const Tensor& x, const Zoneout& mask, const Tensor& y,
             const Tensor& copy) {
  const char* op = "zoneout";
  expect_matrix(op, "x", x);
  expect(op, "before", before, x.shape());
  expect(op, "y", y, x.shape());
  if (copy.defined()) expect(op, "copy", copy, x.shape());
  for (const Tensor* t : {&before, &x, &y}) expect_contiguous(op, "before, x and y", *t);
  kernels(common_device(op, {&before, &x, &y, &copy, &mask.example, &mask.time}))
      .zoneout({x.dim(0), x.dim(1), before.f32(), x.f32(), y.f32(), copy.f32(),
                copy.defined() ? copy.row_stride() : 0, checked(op, mask, x.dim(0))});
}

void zoneout_backward(const Tensor& dy, const Zoneout& mask, const Tensor& dx, const Tensor& dbefore) {
  const char* op = "zoneout_backward";
  expect_matrix(op, "dy", dy);
  expect(op, "dx", dx, dy.shape());
  expect(op, "dbefore", dbefore, dy.shape());
  for (const Tensor* t : {&dy, &dx, &dbefore}) expect_contiguous(op, "every argument", *t);
  kernels(common_device(op, {&dy, &dx, &dbefore, &mask.example, &mask.time}))
      .zoneout_backward(
          {dy.dim(0), dy.dim(1), dy.f32(), dx.f32(), dbefore.f32(), checked(op, mask, dy.dim(0))});
}

}  // namespace s2s::ops

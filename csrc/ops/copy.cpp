#include "ops/copy.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

// Checks `source` for this many rows; offsets come to where the rest is.
CopySource checked(const char* op, const Copying& source, int64_t rows, Tensor& offsets) {
  expect_dtype(op, "copies", source.copies, DType::i32);
  expect(op, "first", source.first, source.copies.shape(), DType::i32);
  expect(op, "example", source.example, {rows}, DType::i32);
  expect_dtype(op, "offsets", source.offsets, DType::i32);
  offsets = source.offsets.to(common_device(op, {&source.copies, &source.first, &source.example}));
  return {source.copies.i32(), source.first.i32(), offsets.i32(), source.example.i32()};
}

}  // namespace

void copy_mass(const Copying& source, const Tensor& weights, const Tensor& mass) {
  const char* op = "copy_mass";
  expect_matrix(op, "weights", weights);
  expect(op, "mass", mass, weights.shape());
  for (const Tensor* t : {&weights, &mass}) expect_contiguous(op, "weights and mass", *t);
  Tensor offsets;
  const CopySource places = checked(op, source, weights.dim(0), offsets);
  kernels(common_device(op, {&weights, &mass, &source.copies}))
      .copy_mass({weights.dim(0), weights.dim(1), places, weights.f32(), mass.f32()});
}

void copy_cross_entropy(const Copying& source, const Tensor& logits, const Tensor& gate, const Tensor& mass,
                        const Tensor& targets, float smoothing, float scale, const Tensor& losses,
                        const Tensor& nll, const Tensor& best, const Tensor& dlogits, const Tensor& dgate,
                        const Tensor& dweights) {
  const char* op = "copy_cross_entropy";
  expect_matrix(op, "logits", logits);
  expect_matrix(op, "mass", mass);
  const int64_t rows = logits.dim(0), classes = logits.dim(1), stride = mass.dim(1);
  check(op, classes >= 1, "Expected logits of at least one class, got 0.");
  check(op, smoothing >= 0.0f && smoothing <= 1.0f, "Expected label_smoothing from 0 to 1, got ", smoothing,
        ".");
  expect(op, "gate", gate, {rows});
  expect(op, "mass", mass, {rows, stride});
  expect(op, "targets", targets, {rows}, DType::i32);
  expect(op, "losses", losses, {rows});
  expect(op, "nll", nll, {rows});
  expect(op, "best", best, {rows}, DType::i32);
  const bool train = dlogits.defined();
  if (train) {
    expect(op, "dlogits", dlogits, logits.shape());
    expect(op, "dgate", dgate, {rows});
    expect(op, "dweights", dweights, mass.shape());
  }
  Tensor offsets;
  const CopySource places = checked(op, source, rows, offsets);
  const Device device = common_device(op, {&logits, &gate, &mass, &targets, &losses, &nll, &best, &dlogits,
                                           &dgate, &dweights, &source.copies});
  kernels(device).copy_cross_entropy({rows, classes, stride, places, logits.f32(), gate.f32(), mass.f32(),
                                      targets.i32(), smoothing, scale, losses.f32(), nll.f32(), best.i32(),
                                      train ? dlogits.f32() : nullptr, train ? dgate.f32() : nullptr,
                                      train ? dweights.f32() : nullptr});
}

void copy_log_softmax(const Copying& source, const Tensor& gate, const Tensor& mass, int64_t classes,
                      const Tensor& x) {
  const char* op = "copy_log_softmax";
  expect_matrix(op, "x", x);
  expect_matrix(op, "mass", mass);
  expect_contiguous(op, "x", x);
  const int64_t rows = x.dim(0), width = x.dim(1);
  check(op, classes >= 1 && classes <= width, "Expected from 1 to ", width, " classes, got ", classes, ".");
  expect(op, "gate", gate, {rows});
  expect(op, "mass", mass, {rows, mass.dim(1)});
  Tensor offsets;
  const CopySource places = checked(op, source, rows, offsets);
  kernels(common_device(op, {&x, &gate, &mass, &source.copies}))
      .copy_log_softmax({rows, classes, width, mass.dim(1), places, gate.f32(), mass.f32(), x.f32()});
}

}  // namespace s2s::ops

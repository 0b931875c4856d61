#include "ops/ctc.h"

#include <algorithm>
#include <unordered_map>

#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/scratch.h"

namespace s2s::ops {
namespace {

constexpr const char* kOp = "ctc_loss";

// What the kernel reads of the targets, on the host at first.
struct Lattice {
  Tensor first, label_offsets, begin;
  int64_t most_labels = 0, size = 0;
};

Lattice lattice_of(const Tensor& row_offsets, const CtcTargets& targets) {
  const int64_t N = targets.lengths.size();
  Lattice l{Tensor::host(targets.labels.shape(), DType::i32), Tensor::host({N + 1}, DType::i32),
            Tensor::host({N + 1}, DType::i64)};
  const int32_t* labels = targets.labels.i32();
  std::unordered_map<int32_t, int32_t> seen;
  int32_t at = 0;
  for (int64_t n = 0; n < N; ++n) {
    const int32_t length = targets.lengths.i32()[n];
    const int64_t rows = row_offsets.i32()[n + 1] - row_offsets.i32()[n];
    l.label_offsets.i32()[n] = at;
    l.begin.i64()[n] = l.size;
    l.size += rows * (2 * int64_t{length} + 1);
    l.most_labels = std::max<int64_t>(l.most_labels, length);
    seen.clear();
    for (int32_t i = 0; i < length; ++i, ++at) {
      l.first.i32()[at] = seen.try_emplace(labels[at], i).first->second;
    }
  }
  l.label_offsets.i32()[N] = at;
  l.begin.i64()[N] = l.size;
  return l;
}

void check_targets(const Tensor& logits, const Tensor& row_offsets, const CtcTargets& targets,
                   int32_t blank) {
  expect_dtype(kOp, "row_offsets", row_offsets, DType::i32);
  const int64_t N = row_offsets.size() - 1;
  expect(kOp, "target_lengths", targets.lengths, {N}, DType::i32);
  int64_t total = 0;
  for (int64_t n = 0; n < N; ++n) {
    const int32_t length = targets.lengths.i32()[n];
    check(kOp, length >= 0, "Expected target_lengths of at least 0, got ", length, " at position ", n, ".");
    total += length;
  }
  expect(kOp, "targets", targets.labels, {total}, DType::i32);
  check(kOp, N >= 0 && row_offsets.i32()[N] == logits.dim(0), "Expected lengths that sum to the ",
        logits.dim(0), " rows of logits.");
  check(kOp, blank >= 0 && blank < logits.dim(1), "Expected blank from 0 to ", logits.dim(1) - 1, ", got ",
        blank, ".");
  expect_ids(kOp, "targets", targets.labels, logits.dim(1));
  for (int64_t i = 0; i < total; ++i) {
    check(kOp, targets.labels.i32()[i] != blank, "Expected targets without the blank ", blank,
          ", got one at position ", i, ".");
  }
}

}  // namespace

Tensor ctc_offsets(const Tensor& lengths, int64_t rows) {
  expect(kOp, "lengths", lengths, {lengths.size()}, DType::i32);
  Tensor offsets = Tensor::host({lengths.size() + 1}, DType::i32);
  int64_t total = 0;
  for (int64_t n = 0; n <= lengths.size(); ++n) {
    offsets.i32()[n] = static_cast<int32_t>(total);
    if (n == lengths.size()) break;
    const int32_t length = lengths.i32()[n];
    check(kOp, length >= 1, "Expected lengths of at least 1, got ", length, " at position ", n, ".");
    total += length;
    check(kOp, total <= rows, "Expected lengths that sum to the ", rows, " rows of logits, got more.");
  }
  check(kOp, total == rows, "Expected lengths that sum to the ", rows, " rows of logits, got ", total, ".");
  return offsets;
}

void ctc_loss(const Tensor& logits, const Tensor& row_offsets, const CtcTargets& targets, int32_t blank,
              bool zero_infinity, float scale, const Tensor& losses, const Tensor& dlogits) {
  expect_matrix(kOp, "logits", logits);
  expect_contiguous(kOp, "logits", logits);
  check_targets(logits, row_offsets, targets, blank);
  const int64_t N = targets.lengths.size();
  expect(kOp, "losses", losses, {N});
  if (dlogits.defined()) expect(kOp, "dlogits", dlogits, logits.shape());
  const Device device = common_device(kOp, {&logits, &losses, &dlogits});
  const Lattice lattice = lattice_of(row_offsets, targets);
  const Tensor offsets = row_offsets.to(device), labels = targets.labels.to(device),
               first = lattice.first.to(device), label_offsets = lattice.label_offsets.to(device),
               begin = lattice.begin.to(device);
  const int64_t numbers = lattice.size + 2 * (2 * lattice.most_labels + 1) * N;
  kernels(device).ctc_loss(
      {N, logits.dim(0), logits.dim(1), logits.f32(), offsets.i32(), labels.i32(), first.i32(),
       label_offsets.i32(), begin.i64(), lattice.size, static_cast<int32_t>(lattice.most_labels), blank,
       zero_infinity, scale, losses.f32(), dlogits.defined() ? dlogits.f32() : nullptr,
       static_cast<double*>(scratch_on(device, numbers * static_cast<int64_t>(sizeof(double))))});
}

}  // namespace s2s::ops

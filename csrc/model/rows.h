// Index tensors that carry rows between the caller's order of sequences and the ragged layout, and the names
// of rows by which dropout finds its masks. All are made in the host's memory; ops bring them to the device
// at each use, so what is used often is brought there once, by to().
#pragma once

#include "core/ragged.h"
#include "core/tensor.h"
#include "ops/dropout.h"

namespace s2s::model {

Tensor to_tensor(const std::vector<int32_t>& values);

// For each ragged row, the row of the same step when the sequences lie one after the other in the caller's
// order.
Tensor flat_rows(const Ragged& ragged);
// The inverse: for each flat row its ragged row.
Tensor ragged_rows(const Ragged& ragged);
// For each ragged row, the row of the step before in its sequence; -1 for the first.
Tensor previous_rows(const Ragged& ragged);
// [N + 1] where each sequence begins in the flat layout.
Tensor flat_offsets(const int32_t* lengths, int64_t count);

struct RowNames {
  Tensor example;  // [R] int64
  Tensor time;     // [R] int32
  RowNames rows(int64_t begin, int64_t count) const {
    return {example.rows(begin, count), time.rows(begin, count)};
  }
  RowNames to(Device device) const { return {example.to(device), time.to(device)}; }
};
RowNames row_names(const Ragged& ragged, const int64_t* example_ids);  // example_ids null: the caller's index

// Dropout for one pass of training; p = 0 (inference, evaluation) does nothing.
struct Dropout {
  ops::Mask mask;
  bool active() const { return mask.p > 0.0f; }
  // In place.
  void apply(const Tensor& x, const RowNames& names, int op) const {
    if (active()) ops::dropout(x, x, names.example, names.time, op, mask);
  }
};

// Which dropout of the network a mask belongs to.
enum DropoutOp : int {
  kDropSource = 0,
  kDropTarget = 1,
  kDropAttentional = 2,
  kDropEncoderLayer = 64,
  kDropDecoderLayer = 128
};

}  // namespace s2s::model

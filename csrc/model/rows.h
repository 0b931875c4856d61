// Index tensors that carry rows between the caller's order of sequences and the ragged layout, and the names
// of rows by which dropout finds its masks. All are made in the host's memory; ops bring them to the device
// at each use, so what is used often is brought there once, by to().
#pragma once

#include "core/ragged.h"
#include "core/tensor.h"
#include "ops/dropout.h"

namespace s2s::model {

Tensor to_tensor(const std::vector<int32_t>& values);
// Some rows of a tensor that may be undefined.
inline Tensor slice_if(const Tensor& t, int64_t begin, int64_t count) {
  return t.defined() ? t.rows(begin, count) : t;
}

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
  Tensor time;     // [R] int32; 0 where dropout is variational
  Tensor step;     // [R] int32 the time whatever dropout is, where there is zoneout
  RowNames rows(int64_t begin, int64_t count) const {
    return {example.rows(begin, count), time.rows(begin, count),
            step.defined() ? step.rows(begin, count) : step};
  }
  RowNames to(Device device) const { return {example.to(device), time.to(device), step.to(device)}; }
};
// Which dropout of the network a mask belongs to.
enum DropoutOp : int {
  kDropSource = 0,
  kDropTarget = 1,
  kDropAttentional = 2,
  kDrawTarget = 3,  // no dropout: scheduled_sampling.h
  kDropSourceWord = 4,
  kDropTargetWord = 5,
  kDropEncoderLayer = 64,
  kDropDecoderLayer = 128,
  kZoneoutEncoder = 192,
  kZoneoutDecoder = 224
};

// Dropout for one pass of training; rates of 0 (inference, evaluation) do nothing.
struct Dropout {
  float embedding = 0.0f, layers = 0.0f, output = 0.0f;  // rates
  bool variational = false;                              // one mask for all time steps
  float word = 0.0f;                                     // the rate at which tokens become <unk>
  bool zoneout = false;                                  // by masks; the rates are the cells'
  uint64_t seed = 0;
  uint32_t update = 0;

  // Whether rows need names.
  bool active() const { return embedding > 0.0f || layers > 0.0f || output > 0.0f || zoneout; }
  ops::Mask mask(int op) const {
    const float p = op == kDropAttentional ? output : op >= kDropEncoderLayer ? layers : embedding;
    return {p, seed, update};
  }
  // In place.
  void apply(const Tensor& x, const RowNames& names, int op) const {
    if (mask(op).p > 0.0f) ops::dropout(x, x, names.example, names.time, op, mask(op));
  }
};

// Word dropout (Bowman et al. 2016): whether this token becomes <unk>.
bool drops_word(const Dropout& dropout, int op, int64_t example, int64_t time);

// example_ids null: the caller's index.
RowNames row_names(const Ragged& ragged, const int64_t* example_ids, const Dropout& dropout);

}  // namespace s2s::model

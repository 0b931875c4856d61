// gru_inference: the equations of ops/gru.h with weights of any ComputeType, keeping nothing for backward.
// int8: a state h lies within max(1, |h0|) and is quantised by that; with the reset gate before the product,
// r h likewise.
#pragma once

#include "ops/gru.h"
#include "ops/lstm_inference.h"

namespace s2s {

struct GruInferenceArgs {
  SequenceShape shape;
  bool reset_after;
  const float* gates;  // [R, 3H] W_ih x + b_ih
  ComputeType type;
  const void* w_hh;   // reset_after: packed, gates = 3; before: packed, gates = 2 (r, z)
  const void* w_hn;   // reset_before: packed, gates = 1; else null
  const float* b_hh;  // [3H]
  const float* h0;    // [N, H], null: zero
  float* bounds;      // [N] int8: the largest |h0| of each sequence, at least 1; set where it is 0
  float* y;           // [R, H] out
  int64_t y_stride;
  float* hn;      // [N, H] out: each sequence's last state; may be h0
  void* scratch;  // gru_scratch_bytes
  bool downward;  // walk the weights from the last unit to the first in the first step; each step turns round
};

// The states, and z beside r h.
constexpr int64_t gru_scratch_bytes(int64_t sequences, int64_t hidden) {
  return recurrent_scratch_bytes(sequences, hidden) + sequences * hidden * 8 + 128 +
         narrow_bytes(sequences, hidden);
}

namespace ops {
// Steps as in lstm_inference. bounds [N]: of a walk in several parts; else undefined.
void gru_inference(const Ragged& ragged, Range steps, bool reverse, bool reset_after, const Tensor& gates,
                   const PackedGru& weights, const Tensor& b_hh, const Tensor& h0, const Tensor& bounds,
                   const Tensor& y, const Tensor& hn);
}  // namespace ops
}  // namespace s2s

// lstm_inference: the equations of ops/lstm.h with weights of any ComputeType, keeping nothing for backward.
// int8: h lies in (-1, 1) and is quantised by the constant scale 1 / 127; an h0 that does not, by its largest
// magnitude.
#pragma once

#include "core/threads.h"
#include "ops/lstm.h"

namespace s2s {

struct LstmInferenceArgs {
  SequenceShape shape;
  const float* gates;  // [R, 4H] W_ih x + b_ih + b_hh
  ComputeType type;
  const void* w_hh;  // packed, gates = 4
  const float* h0;   // [N, H], null: zero
  const float* c0;   // [N, H], null: zero
  float* y;          // [R, H] out
  int64_t y_stride;
  float* hn;      // [N, H] out: each sequence's last state; may be h0
  float* cn;      // [N, H] out; may be c0
  void* scratch;  // recurrent_scratch_bytes
  bool downward;  // walk the weights from the last unit to the first in the first step; each step turns round
};

// Two copies of N states of width H, as floats and quantised.
constexpr int64_t recurrent_scratch_bytes(int64_t sequences, int64_t hidden) {
  return 2 * (sequences * hidden * 4 + 64 + narrow_bytes(sequences, hidden));
}

namespace ops {
// Steps [begin, end) of the batch: gates and y have their rows, the states the sequences that run in them.
void lstm_inference(const Ragged& ragged, Range steps, bool reverse, const Tensor& gates, const Packed& w_hh,
                    const Tensor& h0, const Tensor& c0, const Tensor& y, const Tensor& hn, const Tensor& cn);
}  // namespace ops
}  // namespace s2s

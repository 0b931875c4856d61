// gru: one layer, one direction, over a ragged batch; the input's products are done already (gate order r z
// n).
//   r, z = sigmoid(gx + W_hh h + b_hh)
//   reset_after  (PyTorch, cuDNN):                     n = tanh(gx_n + r (W_hn h + b_hn))
//   reset_before (Keras' default, ONNX lbr = 0):       n = tanh(gx_n + W_hn (r h) + b_hn)
//   h' = (1 - z) n + z h
// Rows and reverse as in ops/lstm.h. With a single step this is the GRU cell.
#pragma once

#include "ops/lstm.h"

namespace s2s {

struct GruArgs {
  SequenceShape shape;
  StepProducts products;
  bool reset_after;
  float* gates;       // [R, 3H] in: W_ih x + b_ih; out: the gates' activations
  const float* w_hh;  // reset_after: packed, gates = 3; before: packed, gates = 2 (r, z)
  const float* w_hn;  // reset_before: packed, gates = 1; else null
  const float* b_hh;  // [3H]
  const float* h0;    // [N, H]
  float* y;           // [R, H] out
  int64_t y_stride;
  float* h_prev;  // [R, H] out: the state each row started from
  float* hn;      // [R, H] out: after: W_hn h + b_hn; before: r h
  float* h_last;  // [N, H] out; may not alias h0
};

struct GruBackwardArgs {
  SequenceShape shape;
  StepProducts products;
  bool reset_after;
  float* gates;         // [R, 3H] in: activations; out: gradients of the input's part of the pre-activations
  float* dgates_hn;     // [R, H] out: gradient of the recurrent part of n (its r and z equal those in gates)
  const float* w_hh_t;  // packed [2H, H] (r, z)
  const float* w_hn_t;  // packed [H, H]
  const float* h_prev;  // [R, H]
  const float* hn;      // [R, H]
  const float* dy;      // [R, H]
  int64_t dy_stride;
  float* dh;       // [N, H] in: gradient of the last state; out: of h0
  float* d_reset;  // [N, H] scratch for reset_before, else null
};

namespace ops {
// The recurrent weights [3H, H] of a GRU, packed for both variants and both directions of the computation.
struct PackedGru {
  Packed w_hh, w_hn;
};
PackedGru pack_gru(const Tensor& w_hh, bool reset_after, ComputeType type = ComputeType::float32);
PackedGru pack_gru_backward(const Tensor& w_hh, ComputeType type = ComputeType::float32);

void gru(const Ragged& ragged, bool reverse, bool reset_after, const Tensor& gates, const PackedGru& weights,
         const Tensor& b_hh, const Tensor& h0, const Tensor& y, const Tensor& h_prev, const Tensor& hn,
         const Tensor& h_last);
void gru_backward(const Ragged& ragged, bool reverse, bool reset_after, const Tensor& gates,
                  const Tensor& dgates_hn, const PackedGru& weights, const Tensor& h_prev, const Tensor& hn,
                  const Tensor& dy, const Tensor& dh);
}  // namespace ops
}  // namespace s2s

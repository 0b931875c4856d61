// lstm: one layer, one direction, over a ragged batch; the input's products are done already.
//   i, f, o = sigmoid(gx + W_hh h), g = tanh(gx + W_hh h), c' = f c + i g, h' = o tanh(c')        (gate order
//   i f g o)
// Rows lie time-major, longest sequence first (core/ragged.h). reverse walks each sequence from its last step
// to its first. With a single step this is the LSTM cell.
#pragma once

#include "core/ragged.h"
#include "core/tensor.h"
#include "ops/matmul.h"

namespace s2s {

struct SequenceShape {
  int64_t sequences, steps, hidden;
  const int64_t* batch_sizes;  // [steps]
  const int64_t* offsets;      // [steps + 1]
  bool reverse;
};

// How the CPU multiplies in training's steps: by float32, or by bfloat16_pairs, for which each thread rounds
// the rows of a step into a part of `scratch`.
struct StepProducts {
  ComputeType type;
  int parts;  // threads at most
  int64_t part_bytes;
  void* scratch;
  void* part(int index) const { return static_cast<char*>(scratch) + index * part_bytes; }
};

struct LstmArgs {
  SequenceShape shape;
  StepProducts products;
  float* gates;       // [R, 4H] in: W_ih x + b_ih + b_hh; out: the gates' activations, which backward needs
  const float* w_hh;  // packed, gates = 4
  const float* h0;    // [N, H]
  const float* c0;    // [N, H]
  float* y;           // [R, H] out
  int64_t y_stride;
  float* h_prev;  // [R, H] out: the state each row started from
  float* c_prev;  // [R, H] out
  float* hn;      // [N, H] out: each sequence's last state; may not alias h0
  float* cn;      // [N, H] out
};

struct LstmBackwardArgs {
  SequenceShape shape;
  StepProducts products;
  float* gates;         // [R, 4H] in: activations; out: gradients of the pre-activations
  const float* w_hh_t;  // packed [4H, H] plain: the gradient's product
  const float* c_prev;  // [R, H]
  const float* dy;      // [R, H]
  int64_t dy_stride;
  float* dh;  // [N, H] in: gradient of hn; out: of h0
  float* dc;  // [N, H] in: gradient of cn; out: of c0
};

namespace ops {
void lstm(const Ragged& ragged, bool reverse, const Tensor& gates, const Packed& w_hh, const Tensor& h0,
          const Tensor& c0, const Tensor& y, const Tensor& h_prev, const Tensor& c_prev, const Tensor& hn,
          const Tensor& cn);
void lstm_backward(const Ragged& ragged, bool reverse, const Tensor& gates, const Packed& w_hh_t,
                   const Tensor& c_prev, const Tensor& dy, const Tensor& dh, const Tensor& dc);
}  // namespace ops
}  // namespace s2s

// Copying from the source (pointer-generator, See et al. 2017). Every place of a source has a copy id: the
// target vocabulary's id of its token, or V + n for the n-th of the source's tokens that are not in it. A
// row's distribution over the V + n tokens is
//   P(v) = (1 - c) softmax(logits)_v + c sum_{s: copies_s = v} weights_s,   c = sigmoid(gate)
// copy_mass: the inner sum, written at the first place that holds v, zero elsewhere.
// copy_cross_entropy: loss = (1 - s) * -log P(target) + s / V * sum_v -log softmax(logits)_v, and gradients.
// copy_log_softmax: log P of every token, in place of the logits.
#pragma once

#include "core/tensor.h"

namespace s2s {

// Sources lie one after the other: source n is places offsets[n] .. offsets[n + 1].
struct CopySource {
  const int32_t* copies;   // [sum S] the copy id of each place
  const int32_t* first;    // [sum S] the first place of the source, counted from its begin, with the same id
  const int32_t* offsets;  // [N + 1]
  const int32_t* example;  // [rows] the source of each row
};

struct CopyMassArgs {
  int64_t rows, stride;
  CopySource source;
  const float* weights;  // [rows, stride]
  float* mass;           // [rows, stride] out
};

struct CopyCrossEntropyArgs {
  int64_t rows, classes, stride;
  CopySource source;
  const float* logits;     // [rows, classes]
  const float* gate;       // [rows]
  const float* mass;       // [rows, stride]
  const int32_t* targets;  // [rows] copy ids
  float smoothing, scale;
  float* losses;    // [rows] out
  float* nll;       // [rows] out: -log P(target)
  int32_t* best;    // [rows] out: argmax of P (the lowest on ties), -1 for NaN
  float* dlogits;   // [rows, classes] out, may be logits; null: no gradients
  float* dgate;     // [rows] out
  float* dweights;  // [rows, stride] out
};

struct CopyLogSoftmaxArgs {
  int64_t rows, classes, width, stride;
  CopySource source;
  const float* gate;  // [rows]
  const float* mass;  // [rows, stride]
  float* x;  // [rows, width] in: logits in the first `classes` columns; out: log P, -infinity where no place
             // holds it
};

namespace ops {
struct Copying {
  Tensor copies, first, offsets, example;  // offsets may be the host's
};
void copy_mass(const Copying& source, const Tensor& weights, const Tensor& mass);
// dlogits, dgate and dweights: all undefined, or none. losses, nll and best are written where they lie.
void copy_cross_entropy(const Copying& source, const Tensor& logits, const Tensor& gate, const Tensor& mass,
                        const Tensor& targets, float smoothing, float scale, const Tensor& losses,
                        const Tensor& nll, const Tensor& best, const Tensor& dlogits, const Tensor& dgate,
                        const Tensor& dweights);
void copy_log_softmax(const Copying& source, const Tensor& gate, const Tensor& mass, int64_t classes,
                      const Tensor& x);
}  // namespace ops
}  // namespace s2s

// Connectionist temporal classification (Graves et al. 2006): loss_n = -log P(labels_n | logits_n), P being
// the sum over all ways to spread the labels, with blanks between them, over the T_n rows of the sequence, of
// the product of the rows' softmax. Equal neighbours need a blank between them. A sequence whose labels do
// not fit into its rows has loss infinity and gradients NaN, as PyTorch's, or both zero (zero_infinity).
// Forward and backward probabilities are sums of logarithms, in double.
#pragma once

#include "core/tensor.h"

namespace s2s {

// Sequences lie one after the other: the rows and the labels of n begin at its offsets.
struct CtcArgs {
  int64_t sequences, rows, classes;
  const float* logits;           // [rows, classes]
  const int32_t* row_offsets;    // [sequences + 1]
  const int32_t* labels;         // [sum L], none of them blank
  const int32_t* first;          // [sum L] the first place of the same label in its sequence
  const int32_t* label_offsets;  // [sequences + 1]
  const int64_t* lattice;        // [sequences + 1] where the T (2 L + 1) numbers of each begin
  int64_t lattice_size;          // and where the last end
  int32_t most_labels;           // of any sequence
  int32_t blank;
  bool zero_infinity;
  float scale;      // of the gradients
  float* losses;    // [sequences] out
  float* dlogits;   // [rows, classes] out; null: no gradients
  double* scratch;  // [lattice_size + 2 (2 most_labels + 1) sequences]; the CPU's
};

namespace ops {
// Lengths and labels are the host's, the rest lies on one device.
struct CtcTargets {
  Tensor labels, lengths;  // int32 [sum L], [N]; a length of 0 is an empty target
};
// Where each sequence of these lengths [N] begins; they have to sum to `rows`.
Tensor ctc_offsets(const Tensor& lengths, int64_t rows);
void ctc_loss(const Tensor& logits, const Tensor& row_offsets, const CtcTargets& targets, int32_t blank,
              bool zero_infinity, float scale, const Tensor& losses, const Tensor& dlogits);
}  // namespace ops
}  // namespace s2s

// unfold: y[r, s, j] = x[r, s + j - width / 2], zero outside the row: the window around each place, so that a
// convolution over places is a product of matrices.
// unfold_backward: dx[r, s] = sum_j dy[r, s - j + width / 2, j], in the order of j.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct UnfoldArgs {
  int64_t rows, places, width;  // width: odd
  float* x;                     // [rows, places]; read by forward, written by backward
  float* y;                     // [rows, places, width]; written by forward, read by backward
};

namespace ops {
// y [rows * places, width]
void unfold(const Tensor& x, const Tensor& y);
void unfold_backward(const Tensor& dy, const Tensor& dx);
}  // namespace ops
}  // namespace s2s

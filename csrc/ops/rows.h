// gather_rows: y[r] = x[index[r]]. An index of -1 gives zeros.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct GatherRowsArgs {
  int64_t rows, width;
  const float* x;
  int64_t x_stride;
  const int32_t* index;  // [rows]
  float* y;              // [rows, width]; may not alias x
  int64_t y_stride;
};

namespace ops {
void gather_rows(const Tensor& x, const Tensor& index, const Tensor& y);
// x [A, B, W] as [B, A, W].
Tensor swap_axes(const Tensor& x);
}  // namespace ops
}  // namespace s2s

// column_sum: out[c] += sum over rows of x[r][c], the gradient of a bias.
// segment_mean: out[n] = mean of rows offsets[n] .. offsets[n + 1] of x; its backward adds dout[n] / length
// to each of them.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct ColumnSumArgs {
  int64_t rows, width;
  const float* x;
  const uint16_t* rounded;  // on the CPU: null, or in the place of x numbers of bfloat16
  int64_t x_stride;
  float* out;  // [width] added to
};
struct SegmentMeanArgs {
  int64_t segments, width;
  const int32_t* offsets;  // [segments + 1]
  float* x;                // [rows, width] read by forward, added to by backward
  float* out;              // [segments, width] written by forward, read by backward
};

namespace ops {
void column_sum(const Tensor& x, const Tensor& out);  // x: float32 or bfloat16
void segment_mean(const Tensor& x, const Tensor& offsets, const Tensor& out);
void segment_mean_backward(const Tensor& dout, const Tensor& offsets, const Tensor& dx);
}  // namespace ops
}  // namespace s2s

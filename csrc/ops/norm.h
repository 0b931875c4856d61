// Whole-buffer arithmetic of a training step: squared norm (blocks of 4096 elements, summed in double in
// their order), scaling, addition.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct SquaredNormArgs {
  int64_t count;
  const float* x;
  double* result;  // one double
};
struct ScaleArgs {
  int64_t count;
  float* x;
  float factor;
};
// y[r] += x[r]
struct AddArgs {
  int64_t rows, width;
  const float* x;
  int64_t x_stride;
  float* y;
  int64_t y_stride;
};

namespace ops {
double squared_norm(const Tensor& x);
void scale(const Tensor& x, float factor);
void add(const Tensor& x, const Tensor& y);
}  // namespace ops
}  // namespace s2s

// dropout: y = x / (1 - p) where uniform(philox(counter, key)) >= p, else 0. The mask is never stored:
// backward is the same call on dy. Counter: unit / 4, time, example, op; key: seed, update (math/philox.h).
#pragma once

#include "core/tensor.h"

namespace s2s {

struct DropoutArgs {
  int64_t rows, width;
  const float* x;  // [rows, width]
  int64_t x_stride;
  float* y;  // [rows, width], may be x
  int64_t y_stride;
  const int64_t* example;  // [rows]
  const int32_t* time;     // [rows]
  float p;                 // 0 <= p < 1
  int32_t op;              // 0 .. 255, which dropout of the network
  uint64_t seed;
  uint32_t update;
};

namespace ops {
// Names one dropout mask; p = 0 leaves x as it is.
struct Mask {
  float p = 0.0f;
  uint64_t seed = 0;
  uint32_t update = 0;
};
void dropout(const Tensor& x, const Tensor& y, const Tensor& example, const Tensor& time, int32_t op,
             const Mask& mask);
}  // namespace ops
}  // namespace s2s

// zoneout (Krueger et al. 2017): y = before where uniform(philox(counter, key)) < p, else x; without names of
// rows its expectation, p before + (1 - p) x. The mask is never stored: backward makes it again.
// Counter: unit / 4 + stream * 2^28, time, example, op; key: seed, update (math/philox.h).
#pragma once

#include "core/tensor.h"

namespace s2s {

// Which random numbers a mask is made of.
struct ZoneoutMask {
  const int64_t* example;  // [rows]; null: the expectation
  const int32_t* time;     // [rows]
  float p;                 // 0 <= p <= 1
  int32_t op, stream;      // 0 .. 255, 0 .. 15
  uint64_t seed;
  uint32_t update;
};
struct ZoneoutArgs {
  int64_t rows, width;
  const float *before, *x;  // [rows, width]
  float* y;                 // [rows, width] out, may be before or x
  float* copy;              // [rows, width] out: y once more, or null
  int64_t copy_stride;
  ZoneoutMask mask;
};
struct ZoneoutBackwardArgs {
  int64_t rows, width;
  const float* dy;  // [rows, width]
  float* dx;        // [rows, width] out, may be dy
  float* dbefore;   // [rows, width] out
  ZoneoutMask mask;
};

namespace ops {
struct Zoneout {
  float p = 0.0f;
  Tensor example, time;  // [rows] int64, int32, where the other arrays are; undefined: the expectation
  int32_t op = 0, stream = 0;
  uint64_t seed = 0;
  uint32_t update = 0;
};
// before, x, y [rows, width], contiguous; copy: undefined, or a matrix of their shape.
void zoneout(const Tensor& before, const Tensor& x, const Zoneout& mask, const Tensor& y, const Tensor& copy);
void zoneout_backward(const Tensor& dy, const Zoneout& mask, const Tensor& dx, const Tensor& dbefore);
}  // namespace ops
}  // namespace s2s

// Rows copied by index: what gather_rows and embedding do.
#pragma once

#include "cuda/detail/elements.h"

namespace s2s::cuda {

struct Gather {
  int64_t rows, width;
  const float* from;
  int64_t from_stride;
  const int32_t* index;  // [rows]; below 0: a row of zeros
  float* to;
  int64_t to_stride;
};

void gather(const Gather& x);  // rows.cu

}  // namespace s2s::cuda

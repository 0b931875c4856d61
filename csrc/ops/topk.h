// topk: the k largest of each row, descending, the lower index first on ties; with log_softmax, of log
// softmax(x), which is never written. A row that holds NaN gives indices of -1.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct TopkArgs {
  int64_t rows, width, k;
  const float* x;
  bool log_softmax;
  float* values;     // [rows, k] out
  int32_t* indices;  // [rows, k] out
};

namespace ops {
void topk(const Tensor& x, bool log_softmax, const Tensor& values, const Tensor& indices);
}
}  // namespace s2s

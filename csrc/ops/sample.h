// sample: of each row of logits a column, drawn from their softmax by a number u in [0, 1): the first i with
//   sum over j <= i of exp(x[j] - max x)  >  u * sum over all j.
// It is written to ids[index[r]]; a row that holds NaN leaves that as it was. Never drawn: what has
// probability 0.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct SampleArgs {
  int64_t rows, width;
  const float* x;        // [rows, width]
  const float* u;        // [rows]
  const int32_t* index;  // [rows]
  int32_t* ids;          // out, where the index says
};

namespace ops {
// x [R, V], u [R], index [R] into ids, which lie where x does.
void sample(const Tensor& x, const Tensor& u, const Tensor& index, const Tensor& ids);
}  // namespace ops
}  // namespace s2s

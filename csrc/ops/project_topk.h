// project_topk: the k largest of each row of log softmax(a b + bias), descending, the lower column first on
// ties. The logits, equal to matmul's to the bit, are never written as a whole: columns are taken in blocks
// whose maxima and sums of exponentials are merged (Milakov and Gimelshein 2018, "Online normalizer
// calculation for softmax"), in an order that depends on the number of columns alone. A row whose logits hold
// NaN or +infinity, or are all -infinity, gives indices of -1.
#pragma once

#include "ops/matmul.h"

namespace s2s {

struct ProjectTopkArgs {
  int64_t m, n, k;  // as in MatmulArgs
  const float* a;   // [m, k] rows a_row_stride apart
  int64_t a_row_stride;
  ComputeType type;
  const void* b;      // packed, gates = 0
  float least_bound;  // as in MatmulArgs
  const float* bias;  // [n] or null
  int64_t best;       // how many of each row, 1 to n
  float* values;      // [m, best] out
  int32_t* indices;   // [m, best] out
};

namespace ops {
// `bounded` as in MatmulOptions.
void project_topk(const Tensor& a, bool bounded, const Packed& b, const Tensor& bias, const Tensor& values,
                  const Tensor& indices);
}  // namespace ops
}  // namespace s2s

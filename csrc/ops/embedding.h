// embedding: out[r] = table[ids[r]].  embedding_backward: table[ids[r]] += out[r], in the order of the rows.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct EmbeddingArgs {
  int64_t rows, width;
  const int32_t* ids;  // [rows]
  float* table;        // [vocabulary, width]; read by forward, added to by backward
  float* out;          // [rows, width]; written by forward, read by backward
  int64_t out_stride;
};

namespace ops {
void embedding(const Tensor& ids, const Tensor& table, const Tensor& out);
void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable);
}  // namespace ops
}  // namespace s2s

// attention: each query row attends to the rows of one source (Bahdanau et al. 2015; Luong et al. 2015).
//   dot: score_s = query . keys_s        mlp: score_s = energy . tanh(query + keys_s)
//   weights = softmax(score) over the source's rows; context = sum_s weights_s values_s
// "general" is dot with projected keys. Sources lie one after the other without padding: source n is rows
// offsets[n] .. offsets[n + 1] of keys and values. A query's source must have at least one row. Where a query
// has keys of its own (mlp, with coverage), they are rows r longest .. of keys, and so are their gradients.
#pragma once

#include "core/tensor.h"

namespace s2s {

struct AttentionArgs {
  int64_t rows, key_width, value_width, weights_stride;
  const float* query;  // [rows, key_width]
  int64_t query_stride;
  const float* keys;       // [sum S, key_width], or with own_keys [rows, weights_stride, key_width]
  const float* values;     // [sum S, value_width]
  const int32_t* offsets;  // [N + 1]
  const int32_t* example;  // [rows] the source of each query
  const float* energy;     // [key_width] for mlp, null for dot
  float* context;          // [rows, value_width] out
  int64_t context_stride;
  float* weights;  // [rows, weights_stride] out, zero past the source's length
  bool own_keys;
};

// dkeys, dvalues and denergy are added to, row after row; each source's sums are taken by one thread in row
// order.
struct AttentionBackwardArgs {
  AttentionArgs forward;  // with its outputs
  int64_t sources;
  const float* dcontext;  // [rows, value_width]
  int64_t dcontext_stride;
  const float* from_weights;  // [rows, weights_stride] the weights' gradient from elsewhere, or null
  float* dquery;              // [rows, key_width] out
  int64_t dquery_stride;
  float* dweights;  // [rows, weights_stride] scratch
  float* dkeys;     // like keys, added to; own ones: past the source's length left alone
  float* dvalues;   // [sum S, value_width] added to
  float* denergy;   // [N, key_width] added to, one row per source (mlp), or null
};

namespace ops {
struct Attention {
  Tensor keys, values, offsets, energy;  // energy undefined: dot
  int64_t longest;                       // longest source: width of weights
  bool own_keys = false;
};
// offsets and example may be the host's, whatever the device of the rest.
// Sets offsets and longest from lengths [N] of at least 1 that sum to the rows of keys.
Attention with_lengths(const char* op, Attention memory, const Tensor& lengths);
void attention(const Attention& memory, const Tensor& query, const Tensor& example, const Tensor& context,
               const Tensor& weights);
void attention_backward(const Attention& memory, const Tensor& query, const Tensor& example,
                        const Tensor& context, const Tensor& weights, const Tensor& dcontext,
                        const Tensor& from_weights, const Tensor& dquery, const Tensor& dkeys,
                        const Tensor& dvalues, const Tensor& denergy);
}  // namespace ops
}  // namespace s2s

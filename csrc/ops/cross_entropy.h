// cross_entropy, fused with softmax and its own gradient:
//   loss_r = (1 - s) * -log p(target_r) + s / V * sum_v -log p(v),   p = softmax(logits_r),   s = label
//   smoothing dlogits_r = scale * (p - (1 - s) onehot(target_r) - s / V)
// Rows whose target is ignore_index have loss 0 and gradient 0 (PyTorch's semantics).
#pragma once

#include "core/tensor.h"

namespace s2s {

struct CrossEntropyArgs {
  int64_t rows, classes;
  const float* logits;     // [rows, classes]
  const int32_t* targets;  // [rows]
  int32_t ignore_index;
  float smoothing, scale;
  float* losses;   // [rows] out
  float* nll;      // [rows] out: -log p(target), or null
  int32_t* best;   // [rows] out: argmax of the logits (the lowest on ties), or null
  float* dlogits;  // [rows, classes] out, may be logits; null: no gradient
};

namespace ops {
// ValueError unless each target on the host is a class or ignore_index.
void check_targets(const char* op, const int32_t* targets, int64_t rows, int64_t classes,
                   int32_t ignore_index);
// `device`: where the arrays lie; targets of the CPU are checked here, others before they come to the device.
void cross_entropy(const CrossEntropyArgs& args, Device device = Device::cpu());
}  // namespace ops
}  // namespace s2s

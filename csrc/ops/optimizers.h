// adam, sgd, adagrad: one update of a flat buffer of parameters, in place, with PyTorch's semantics
// (math/optimizers.h); average: their moving average. A mask holds one byte for every kMaskBlock elements:
// bit 0 weight decay applies, bit 1 the parameter is frozen.
#pragma once

#include "core/tensor.h"

namespace s2s {

constexpr int64_t kMaskBlock = 16;
constexpr uint8_t kMaskDecay = 1, kMaskFrozen = 2;

struct AdamArgs {
  int64_t count;
  float* param;
  const float* grad;
  float *m, *v;
  const uint8_t* mask;  // [ceil(count / kMaskBlock)] or null: decay everywhere
  double lr, beta1, beta2, eps, weight_decay;
  int64_t step;  // 1 for the first
  bool decoupled;
};
struct SgdArgs {
  int64_t count;
  float* param;
  const float* grad;
  float* buffer;  // momentum, or null
  const uint8_t* mask;
  double lr, momentum, weight_decay;
  bool nesterov, first;
};
struct AdagradArgs {
  int64_t count;
  float* param;
  const float* grad;
  float* sum;
  const uint8_t* mask;
  double lr, eps, weight_decay;
};
// average += weight * (param - average)
struct AverageArgs {
  int64_t count;
  float* average;
  const float* param;
  double weight;  // 0 .. 1
};

namespace ops {
void adam(const AdamArgs& args, Device device = Device::cpu());
void sgd(const SgdArgs& args, Device device = Device::cpu());
void adagrad(const AdagradArgs& args, Device device = Device::cpu());
void average(const AverageArgs& args, Device device = Device::cpu());
}  // namespace ops
}  // namespace s2s

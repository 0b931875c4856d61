// Output: logits = W_o a + b_o, with the loss over them. Rows are taken in chunks, so that the logits of a
// large vocabulary never fill the memory.
#pragma once

#include "model/copying.h"

namespace s2s::model {

struct LossSums {
  double loss = 0, nll = 0;  // with and without label smoothing, summed over tokens
  int64_t tokens = 0, correct = 0;
};

class Output {
 public:
  Output() = default;
  static void declare(Parameters& all, const Config& config);
  Output(const Parameters& all, const Config& config);

  struct Packed {
    ops::Packed weight;  // [F, V], or [F, columns]
    Tensor bias;
  };
  Packed pack(ComputeType type = ComputeType::float32) const { return {linear_.pack(type), bias_}; }
  // Those columns of it alone.
  static Packed columns(const Packed& packed, const std::vector<int32_t>& ids);

  static void logits(const Packed& packed, const Tensor& attentional, const Tensor& logits);
  // The best continuations of every row, as ops/project_topk.h gives them.
  static void best(const Packed& packed, const Tensor& attentional, const Tensor& log_probs,
                   const Tensor& columns);

  // attentional [R, F], targets [R]; copying: of the same rows, where the network copies. nll [R] is written
  // where defined. dattentional [R, F], where defined, gets the gradient of loss / R (copying its gradients),
  // and the gradients of the parameters are added to; all of them times `share`.
  LossSums loss(const Packed& packed, const Tensor& attentional, const CopyRows* copying,
                const Tensor& targets, float smoothing, const Tensor& nll, const Tensor& dattentional,
                float share = 1.0f) const;

 private:
  Linear linear_;
  Tensor bias_;  // its value
};

}  // namespace s2s::model

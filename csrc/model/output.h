// Output: logits = W_o a + b_o, with the loss over them. Rows are taken in chunks, so that the logits of a
// large vocabulary never fill the memory.
#pragma once

#include "model/config.h"
#include "model/linear.h"

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

  ops::Packed pack() const { return linear_.pack(); }
  void logits(const ops::Packed& packed, const Tensor& attentional, const Tensor& logits) const {
    linear_.forward(packed, attentional, logits);
  }

  // attentional [R, F], targets [R]. nll [R] is written where defined. dattentional [R, F], where defined,
  // gets the gradient of loss / R, and the gradients of the parameters are added to.
  LossSums loss(const ops::Packed& packed, const Tensor& attentional, const Tensor& targets, float smoothing,
                const Tensor& nll, const Tensor& dattentional) const;

 private:
  Linear linear_;
};

}  // namespace s2s::model

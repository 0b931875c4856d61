// LayerNorm: ops/layer_norm.h with parameters prefix.weight and prefix.bias [W].
#pragma once

#include "model/parameters.h"

namespace s2s::model {

class LayerNorm {
 public:
  static void declare(Parameters& all, const std::string& prefix, int64_t width);
  LayerNorm(const Parameters& all, const std::string& prefix);

  void forward(const Tensor& x, const Tensor& y) const;  // y may be x
  // dy [R, W] becomes dx; adds to the gradients of the parameters.
  void backward(const Tensor& x, const Tensor& dy) const;

 private:
  Parameter weight_, bias_;
};

}  // namespace s2s::model

// Linear: y = activation(W x + b), with parameters prefix.weight [N, K] and prefix.bias [N].
#pragma once

#include "model/parameters.h"
#include "ops/matmul.h"

namespace s2s::model {

class Linear {
 public:
  Linear() = default;
  static void declare(Parameters& all, const std::string& prefix, int64_t outputs, int64_t inputs,
                      bool bias = true);
  Linear(const Parameters& all, const std::string& prefix);
  Linear(Parameter weight, Parameter bias) : weight_(weight), bias_(bias) {}

  ops::Packed pack(ComputeType type = ComputeType::float32) const {
    return ops::pack_transposed(weight_.value, 0, ops::product_type(weight_.value.device(), type));
  }
  // Of the inputs [begin, begin + count).
  ops::Packed pack(int64_t begin, int64_t count, ComputeType type) const {
    return ops::pack_transposed(weight_.value.columns(begin, count), 0,
                                ops::product_type(weight_.value.device(), type));
  }
  ops::Packed pack_backward() const {
    return ops::pack(weight_.value, ops::product_type(weight_.value.device()));
  }
  // bounded: x are states or averages of states.
  void forward(const ops::Packed& packed, const Tensor& x, const Tensor& y,
               Activation activation = Activation::none, bool bounded = true) const;
  // dy is the gradient before the activation.
  void add_gradients(const Tensor& x, const Tensor& dy) const { add_gradients(x, dy, dy); }
  // The same where another array has the column sums of dy, with less rounding.
  void add_gradients(const Tensor& x, const Tensor& dy, const Tensor& dy_for_bias) const;

 private:
  Parameter weight_, bias_;
};

}  // namespace s2s::model

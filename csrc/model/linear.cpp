#include "model/linear.h"

#include "ops/reduce.h"

namespace s2s::model {

void Linear::declare(Parameters& all, const std::string& prefix, int64_t outputs, int64_t inputs, bool bias) {
  all.add(prefix + ".weight", {outputs, inputs}, true);
  if (bias) all.add(prefix + ".bias", {outputs}, false);
}

Linear::Linear(const Parameters& all, const std::string& prefix)
    : weight_(parameter(all, prefix + ".weight")) {
  if (all.has(prefix + ".bias")) bias_ = parameter(all, prefix + ".bias");
}

void Linear::forward(const ops::Packed& packed, const Tensor& x, const Tensor& y, Activation activation,
                     bool bounded) const {
  ops::matmul(x, packed, y, {.bias = bias_.value, .activation = activation, .bounded = bounded});
}

void Linear::add_gradients(const Tensor& x, const Tensor& dy, const Tensor& dy_for_bias) const {
  ops::matmul_transposed(dy, x, weight_.gradient, true);
  if (bias_.defined()) ops::column_sum(dy_for_bias, bias_.gradient);
}

}  // namespace s2s::model

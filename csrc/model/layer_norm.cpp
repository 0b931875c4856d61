#include "model/layer_norm.h"

#include "ops/layer_norm.h"
#include "ops/reduce.h"

namespace s2s::model {

void LayerNorm::declare(Parameters& all, const std::string& prefix, int64_t width) {
  all.add(prefix + ".weight", {width}, false);
  all.add(prefix + ".bias", {width}, false);
}

LayerNorm::LayerNorm(const Parameters& all, const std::string& prefix)
    : weight_(parameter(all, prefix + ".weight")), bias_(parameter(all, prefix + ".bias")) {}

void LayerNorm::forward(const Tensor& x, const Tensor& y) const {
  ops::layer_norm(x, weight_.value, bias_.value, ops::kLayerNormEps, y);
}

void LayerNorm::backward(const Tensor& x, const Tensor& dy) const {
  const Tensor dweight = Tensor::empty(x.shape());
  ops::column_sum(dy, bias_.gradient);
  ops::layer_norm_backward(x, weight_.value, ops::kLayerNormEps, dy, dy, dweight);
  ops::column_sum(dweight, weight_.gradient);
}

}  // namespace s2s::model

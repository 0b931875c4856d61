#include "model/conv_front.h"

#include <utility>

#include "ops/activation.h"

namespace s2s::model {
namespace {

std::string name_of_layer(int64_t layer) {
  return "encoder.conv_l" + std::to_string(layer);
}

}  // namespace

void ConvFront::declare(Parameters& all, const Config& c) {
  for (int64_t l = 0; l < c.conv_layers; ++l) {
    const int64_t input = l == 0 ? c.source_width() : c.conv_channels;
    Linear::declare(all, name_of_layer(l), c.conv_channels, c.conv_width * input);
  }
}

ConvFront::ConvFront(const Parameters& all, const Config& c)
    : window_(c.conv_window()), channels_(c.conv_channels) {
  for (int64_t l = 0; l < c.conv_layers; ++l) layers_.emplace_back(all, name_of_layer(l));
}

ConvFront::Packed ConvFront::pack(ComputeType type) const {
  Packed packed;
  for (const Linear& layer : layers_) packed.push_back(layer.pack(type));
  return packed;
}

void ConvFront::layer(const Packed& packed, size_t layer, const Tensor& windows, const Tensor& y) const {
  layers_[layer].forward(packed[layer], windows, y, Activation::tanh, layer > 0);
}

Tensor ConvFront::forward(const Packed& packed, Tensor x, Ragged& ragged, Saved* saved) const {
  for (size_t l = 0; l < layers_.size(); ++l) {
    Level level;
    level.longer = std::move(ragged);
    ragged = shortened(level.longer, window_.stride);
    level.windows = windows(x, level.longer, ragged, window_);
    level.y = Tensor::empty({ragged.rows(), channels_});
    layer(packed, l, level.windows, level.y);
    x = level.y;
    if (saved) saved->push_back(std::move(level));
  }
  return x;
}

Tensor ConvFront::backward(const Saved& saved, const Ragged& ragged, Tensor dy, bool want) const {
  for (size_t l = layers_.size(); l-- > 0;) {
    const Level& level = saved[l];
    ops::tanh_backward(level.y, dy, dy);
    layers_[l].add_gradients(level.windows, dy);
    if (l == 0 && !want) return {};
    const Tensor dwindows = Tensor::empty(level.windows.shape());
    ops::matmul(dy, layers_[l].pack_backward(), dwindows);
    dy = windows_backward(dwindows, level.longer, l + 1 < saved.size() ? saved[l + 1].longer : ragged,
                          window_);
  }
  return dy;
}

}  // namespace s2s::model

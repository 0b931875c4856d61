#include "model/bridge.h"

#include <algorithm>

#include "ops/activation.h"
#include "ops/norm.h"

namespace s2s::model {
namespace {

std::string layer_name(const char* what, int64_t layer) {
  return std::string("bridge.") + what + "_l" + std::to_string(layer);
}

// From which part of the encoder's state a decoder's c comes: c if there is one, else h.
const Tensor& source_of_c(const State& state) {
  return state.c.defined() ? state.c : state.h;
}

void dense_backward(const Linear& linear, const Tensor& x, const Tensor& y, const Tensor& dy,
                    const Tensor& dx) {
  ops::tanh_backward(y, dy, dy);
  linear.add_gradients(x, dy);
  ops::matmul(dy, linear.pack_backward(), dx, {.accumulate = true});
}

}  // namespace

void Bridge::declare(Parameters& all, const Config& config) {
  if (config.bridge != BridgeKind::dense) return;
  for (int64_t l = 0; l < config.decoder_layers; ++l) {
    Linear::declare(all, layer_name("h", l), config.decoder_hidden, config.memory_width());
    if (config.decoder_cell == CellKind::lstm) {
      Linear::declare(all, layer_name("c", l), config.decoder_hidden, config.memory_width());
    }
  }
}

Bridge::Bridge(const Parameters& all, const Config& config) : config_(config) {
  if (config.bridge != BridgeKind::dense) return;
  for (int64_t l = 0; l < config.decoder_layers; ++l) {
    h_.emplace_back(all, layer_name("h", l));
    if (config.decoder_cell == CellKind::lstm) c_.emplace_back(all, layer_name("c", l));
  }
}

size_t Bridge::source_layer(size_t decoder_layer) const {
  return static_cast<size_t>(std::max<int64_t>(
      0, config_.encoder_layers - config_.decoder_layers + static_cast<int64_t>(decoder_layer)));
}

Bridge::Packed Bridge::pack(ComputeType type) const {
  Packed packed;
  for (const Linear& linear : h_) packed.h.push_back(linear.pack(type));
  for (const Linear& linear : c_) packed.c.push_back(linear.pack(type));
  return packed;
}

std::vector<State> Bridge::forward(const Packed& packed, const Memory& memory) const {
  const CellConfig cell = config_.decoder_stack().cell;
  std::vector<State> initial;
  for (size_t l = 0; l < static_cast<size_t>(config_.decoder_layers); ++l) {
    const State& from = memory.last[source_layer(l)];
    State state = State::empty(cell, memory.sequences());
    if (config_.bridge != BridgeKind::dense) {
      copy_state(config_.bridge == BridgeKind::copy ? from : State{}, state);
    } else {
      h_[l].forward(packed.h[l], from.h, state.h, Activation::tanh);
      if (state.c.defined()) c_[l].forward(packed.c[l], source_of_c(from), state.c, Activation::tanh, false);
    }
    initial.push_back(state);
  }
  return initial;
}

void Bridge::backward(const Memory& memory, const std::vector<State>& initial,
                      const std::vector<State>& dinitial, const Memory& dmemory) const {
  for (size_t l = 0; l < static_cast<size_t>(config_.decoder_layers); ++l) {
    const State& from = memory.last[source_layer(l)];
    const State& dfrom = dmemory.last[source_layer(l)];
    if (config_.bridge == BridgeKind::copy) {
      ops::add(dinitial[l].h, dfrom.h);
      if (dinitial[l].c.defined() && dfrom.c.defined()) ops::add(dinitial[l].c, dfrom.c);
    } else if (config_.bridge == BridgeKind::dense) {
      dense_backward(h_[l], from.h, initial[l].h, dinitial[l].h, dfrom.h);
      if (dinitial[l].c.defined()) {
        dense_backward(c_[l], source_of_c(from), initial[l].c, dinitial[l].c, source_of_c(dfrom));
      }
    }
  }
}

}  // namespace s2s::model

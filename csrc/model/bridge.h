// Bridge: the encoder's last states -> the decoder's first. Decoder layer l takes encoder layer max(0, L_enc
// - L_dec + l).
#pragma once

#include "model/encoder.h"
#include "model/linear.h"

namespace s2s::model {

class Bridge {
 public:
  Bridge() = default;
  static void declare(Parameters& all, const Config& config);
  Bridge(const Parameters& all, const Config& config);

  // The weights of a dense bridge in the layout of the device.
  struct Packed {
    std::vector<ops::Packed> h, c;  // per decoder layer; c for LSTMs
  };
  Packed pack(ComputeType type = ComputeType::float32) const;

  // The first state of every decoder layer, in the caller's order of sequences.
  std::vector<State> forward(const Packed& packed, const Memory& memory) const;
  // dinitial (used up) -> added to the gradient of memory.last; adds to the gradients of the parameters.
  void backward(const Memory& memory, const std::vector<State>& initial, const std::vector<State>& dinitial,
                const Memory& dmemory) const;

 private:
  size_t source_layer(size_t decoder_layer) const;
  Config config_;
  std::vector<Linear> h_, c_;
};

}  // namespace s2s::model

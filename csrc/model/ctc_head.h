// The auxiliary output of the encoder: a softmax over the target vocabulary and the blank at each place of
// the memory, trained by connectionist temporal classification beside the decoder (Watanabe et al. 2017).
#pragma once

#include "model/decoder.h"

namespace s2s::model {

class CtcHead {
 public:
  CtcHead() = default;
  static void declare(Parameters& all, const Config& config);
  CtcHead(const Parameters& all, const Config& config);

  // The blank is the class after the vocabulary's last.
  int64_t classes() const { return config_.target_vocab_size + 1; }
  ops::Packed pack(ComputeType type = ComputeType::float32) const {
    return config_.ctc_weight > 0.0f ? linear_.pack(type) : ops::Packed{};
  }
  // [sum S, classes]
  Tensor logits(const ops::Packed& packed, const Memory& memory) const;
  // ctc_weight times the sum of the losses, of the targets without their end tokens; those that do not fit
  // into their memory count nothing. Where dmemory is given, the gradient of this sum / tokens is added to
  // it, and to those of the parameters.
  double loss(const ops::Packed& packed, const Memory& memory, const Target& target,
              const Memory* dmemory) const;

 private:
  Config config_;
  Linear linear_;
};

}  // namespace s2s::model

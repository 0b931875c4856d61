// Zeros of the shapes of a memory: its gradient.
#pragma once

#include "model/encoder.h"

namespace s2s::model {

inline Memory zero_gradient(const Memory& memory) {
  Memory gradient;
  gradient.offsets = memory.offsets;
  gradient.states = Tensor::zeros(memory.states.shape());
  for (const State& state : memory.last) {
    gradient.last.push_back(
        {Tensor::zeros(state.h.shape()), state.c.defined() ? Tensor::zeros(state.c.shape()) : Tensor()});
  }
  return gradient;
}

}  // namespace s2s::model

// A few steps of a loop as a CUDA graph, which the host launches in one go.
#pragma once

#include <cstdint>

#include "cuda/runtime.h"

namespace s2s::cuda {

class StepGraph {
 public:
  // Captures what f() launches on the current stream, none of which runs yet. Where that cannot be done, or
  // launches cost nothing (the emulator), nothing is made.
  template <class F>
  explicit StepGraph(const F& f) {
    if (!begin()) return;
    try {
      f();
    } catch (...) {
      end(false);
      throw;
    }
    end(true);
  }
  bool made() const { return ready_ != nullptr; }
  void launch() const;

 private:
  bool begin();
  void end(bool wanted);

  cudaStream_t before_ = nullptr;  // the current stream, while another one captures
  void* ready_ = nullptr;          // the thread's
};

}  // namespace s2s::cuda

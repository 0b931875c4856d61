// A few steps of a loop as a CUDA graph, which the host launches in one go.
#pragma once

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
      give_back();
      throw;
    }
    end(true);
  }
  ~StepGraph() { give_back(); }
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  bool made() const { return made_; }
  void launch() const;

  // A stream that captures, and the last graph that was made with it: lent to one StepGraph after the other,
  // which gives the graph its own arguments.
  struct Lent {
    int device = -1;
    cudaStream_t stream = nullptr;
    void* graph = nullptr;
  };

 private:
  bool begin();
  void end(bool wanted);
  void give_back() noexcept;

  Lent lent_;
  cudaStream_t before_ = nullptr;  // the current stream, while another one captures
  bool made_ = false;
};

}  // namespace s2s::cuda

#include "cuda/step_graph.h"

#if defined(S2S_CUDA_EMULATED)

namespace s2s::cuda {

bool StepGraph::begin() {
  return false;
}
void StepGraph::end(bool) {}
void StepGraph::launch() const {}
void StepGraph::give_back() noexcept {}

}  // namespace s2s::cuda

#else

#include <cstdlib>
#include <mutex>
#include <string_view>
#include <vector>

namespace s2s::cuda {
namespace {

// As many as searches ran at once, never destroyed: CUDA may be gone before them.
struct Pool {
  std::mutex mutex;
  std::vector<StepGraph::Lent> free;
};
Pool& pool() {
  static Pool& all = *new Pool;
  return all;
}

// An error that is none: the caller does without.
void forget() {
  cudaGetLastError();
}

// S2S_CUDA_GRAPH=0 forbids graphs, for measurements.
bool allowed() {
  const char* text = std::getenv("S2S_CUDA_GRAPH");
  return !text || std::string_view(text) != "0";
}

// On the current device; its stream is null where none can be had.
StepGraph::Lent borrow() {
  StepGraph::Lent lent;
  check(cudaGetDevice(&lent.device));
  {
    const std::lock_guard lock(pool().mutex);
    std::vector<StepGraph::Lent>& free = pool().free;
    for (auto at = free.rbegin(); at != free.rend(); ++at) {
      if (at->device != lent.device) continue;
      lent = *at;
      free.erase(at.base() - 1);
      return lent;
    }
  }
  if (cudaStreamCreateWithFlags(&lent.stream, cudaStreamNonBlocking) != cudaSuccess) {
    forget();
    lent.stream = nullptr;
  }
  return lent;
}

// The graph that was lent with other arguments, if it has the same kernels; else a new one; null: neither.
cudaGraphExec_t executable(cudaGraphExec_t last, cudaGraph_t graph) {
  cudaGraphExecUpdateResultInfo about = {};
  if (last && cudaGraphExecUpdate(last, graph, &about) == cudaSuccess) return last;
  if (last) cudaGraphExecDestroy(last);
  forget();
  cudaGraphExec_t made = nullptr;
  if (cudaGraphInstantiate(&made, graph, 0) == cudaSuccess) return made;
  forget();
  return nullptr;
}

}  // namespace

bool StepGraph::begin() {
  if (!allowed()) return false;
  before_ = current_stream();
  lent_ = borrow();  // the default stream cannot capture
  if (!lent_.stream || cudaStreamBeginCapture(lent_.stream, cudaStreamCaptureModeRelaxed) != cudaSuccess) {
    forget();
    return false;
  }
  use_stream(lent_.stream);
  return true;
}

void StepGraph::end(bool wanted) {
  use_stream(before_);
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(lent_.stream, &graph) != cudaSuccess) forget();
  if (graph && wanted) {
    lent_.graph = executable(static_cast<cudaGraphExec_t>(lent_.graph), graph);
    made_ = lent_.graph != nullptr;
  }
  if (graph) cudaGraphDestroy(graph);
}

void StepGraph::launch() const {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(lent_.graph), current_stream()));
}

void StepGraph::give_back() noexcept {
  if (!lent_.stream) return;
  const std::lock_guard lock(pool().mutex);
  try {
    pool().free.push_back(lent_);
  } catch (...) {  // no memory for it: lost
  }
  lent_.stream = nullptr;
}

}  // namespace s2s::cuda

#endif

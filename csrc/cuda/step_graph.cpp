#include "cuda/step_graph.h"

#if defined(S2S_CUDA_EMULATED)

namespace s2s::cuda {

bool StepGraph::begin() {
  return false;
}
void StepGraph::end(bool) {}
void StepGraph::launch() const {}

}  // namespace s2s::cuda

#else

#include <cstdlib>
#include <string_view>

namespace s2s::cuda {
namespace {

// Kept until the thread ends, and longer: CUDA may be gone before it.
struct Kept {
  int device = -1;
  cudaStream_t stream = nullptr;
  cudaGraphExec_t graph = nullptr;
};
thread_local Kept kept;

// No error: the caller does without.
void forget() {
  cudaGetLastError();
}

// S2S_CUDA_GRAPH=0 forbids graphs, for measurements.
bool allowed() {
  const char* text = std::getenv("S2S_CUDA_GRAPH");
  return !text || std::string_view(text) != "0";
}

// This thread's, on the current device; the default stream cannot capture.
cudaStream_t capture_stream() {
  int device = 0;
  check(cudaGetDevice(&device));
  if (device != kept.device) {
    if (kept.graph) cudaGraphExecDestroy(kept.graph);
    if (kept.stream) cudaStreamDestroy(kept.stream);
    kept = {device, nullptr, nullptr};
    if (cudaStreamCreateWithFlags(&kept.stream, cudaStreamNonBlocking) != cudaSuccess) forget();
  }
  return kept.stream;
}

// This thread's last graph with other arguments, if it has the same kernels; else a new one.
cudaGraphExec_t executable(cudaGraph_t graph) {
  cudaGraphExecUpdateResultInfo about = {};
  if (kept.graph && cudaGraphExecUpdate(kept.graph, graph, &about) == cudaSuccess) return kept.graph;
  if (kept.graph) cudaGraphExecDestroy(kept.graph);
  forget();
  if (cudaGraphInstantiate(&kept.graph, graph, 0) == cudaSuccess) return kept.graph;
  forget();
  return kept.graph = nullptr;
}

}  // namespace

bool StepGraph::begin() {
  if (!allowed()) return false;
  before_ = current_stream();
  const cudaStream_t own = capture_stream();
  if (!own || cudaStreamBeginCapture(own, cudaStreamCaptureModeRelaxed) != cudaSuccess) {
    forget();
    return false;
  }
  use_stream(own);
  return true;
}

void StepGraph::end(bool wanted) {
  use_stream(before_);
  cudaGraph_t graph = nullptr;
  const cudaError_t error = cudaStreamEndCapture(kept.stream, &graph);
  if (error == cudaSuccess && graph && wanted) ready_ = executable(graph);
  if (graph) cudaGraphDestroy(graph);
  if (error != cudaSuccess) forget();
}

void StepGraph::launch() const {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(ready_), current_stream()));
}

}  // namespace s2s::cuda

#endif

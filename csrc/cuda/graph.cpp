// repeat(): a step is called once, which tells how much memory it takes; the second time it is recorded as
// the body of a graph's while node, and the device goes on by itself: the host launches once and waits once.
// The emulator, which has no graphs, calls the step under the same rules: memory of the arena, nothing from
// or to the host.
#include <memory>

#include "cuda/runtime.h"

namespace s2s::cuda {
namespace {

struct InArena {
  explicit InArena(Arena& arena) { use_arena(&arena); }
  ~InArena() { use_arena(nullptr); }
  InArena(const InArena&) = delete;
  InArena& operator=(const InArena&) = delete;
};

bool goes_on(const int32_t* again) {
  int32_t more = 0;
  copy_out(&more, again, sizeof(more));
  return more != 0;
}

#if defined(S2S_CUDA_EMULATED)

void loop(void (*step)(void*), void* context, const int32_t* again, Arena& arena) {
  do {
    arena.rewind();
    const InArena inside(arena);
    step(context);
  } while (goes_on(again));
}

#else

__global__ void __launch_bounds__(1) set_condition(cudaGraphConditionalHandle handle, const int32_t* again) {
  cudaGraphSetConditional(handle, *again != 0);
}

struct Graph {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaStream_t recorder = nullptr;
  Graph() {
    check(cudaGraphCreate(&graph, 0));
    check(cudaStreamCreateWithFlags(&recorder, cudaStreamNonBlocking));
  }
  ~Graph() {
    if (exec) cudaGraphExecDestroy(exec);
    if (graph) cudaGraphDestroy(graph);
    if (recorder) cudaStreamDestroy(recorder);
  }
};

// This thread works in another stream meanwhile.
struct InStream {
  explicit InStream(cudaStream_t s) : before(current_stream()) { use_stream(s); }
  ~InStream() { use_stream(before); }
  cudaStream_t before;
};

void record(Graph& g, cudaGraph_t body, cudaGraphConditionalHandle handle, void (*step)(void*), void* context,
            const int32_t* again, Arena& arena) {
  const InStream stream(g.recorder);
  check(
      cudaStreamBeginCaptureToGraph(g.recorder, body, nullptr, nullptr, 0, cudaStreamCaptureModeThreadLocal));
  try {
    const InArena inside(arena);
    step(context);
    launch(set_condition, {.grid = dim3(1), .block = dim3(1)}, handle, again);
  } catch (...) {
    cudaStreamEndCapture(g.recorder, &body);
    throw;
  }
  check(cudaStreamEndCapture(g.recorder, &body));
}

void loop(void (*step)(void*), void* context, const int32_t* again, Arena& arena) {
  Graph g;
  cudaGraphConditionalHandle handle{};
  check(cudaGraphConditionalHandleCreate(&handle, g.graph, 1, cudaGraphCondAssignDefault));
  cudaGraphNodeParams node{};
  node.type = cudaGraphNodeTypeConditional;
  node.conditional.handle = handle;
  node.conditional.type = cudaGraphCondTypeWhile;
  node.conditional.size = 1;
  cudaGraphNode_t added = nullptr;
  check(cudaGraphAddNode(&added, g.graph, nullptr, nullptr, 0, &node));
  record(g, node.conditional.phGraph_out[0], handle, step, context, again, arena);
  check(cudaGraphInstantiate(&g.exec, g.graph, 0));
  check(cudaGraphLaunch(g.exec, current_stream()));
  check(cudaStreamSynchronize(current_stream()));
}

#endif

}  // namespace

void repeat(void (*step)(void*), void* context, const int32_t* again, int64_t most) {
  if (most < 1) return;
  Arena arena;
  {
    const InArena measured(arena);
    step(context);
  }
  if (most < 2 || !goes_on(again)) return;
  const Scratch memory(arena.used() > 0 ? arena.used() : 1);
  arena.close(memory.as<void>());
  loop(step, context, again, arena);
}

}  // namespace s2s::cuda

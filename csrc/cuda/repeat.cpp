// repeat(): the host launches the steps of a loop ahead of the device and waits for none of them. A word of
// the host's memory, to which the device writes, tells how far the device has come and when the loop has
// ended. The first step tells how much memory a step takes; the others take theirs from one piece, in stream
// order the same for each, so that two steps make a graph that can be launched again and again.
#include <mutex>
#include <stdexcept>
#include <vector>

#include "core/spin.h"
#include "cuda/runtime.h"
#include "cuda/step_graph.h"

namespace s2s::cuda {
namespace {

// Steps that are launched and not known to be done: one that runs, one that waits for it. When the loop ends
// the one that waits has been launched for nothing.
constexpr int64_t kAhead = 2;
// Steps of a graph: one may write where the one before reads, and the other way round.
constexpr int64_t kOfGraph = 2;
constexpr int64_t kLeastForGraph = 8;
constexpr int kLooks = 1 << 14;  // at the word, before the stream is asked whether it works at all

struct InArena {
  explicit InArena(Arena& arena) { use_arena(&arena); }
  ~InArena() { use_arena(nullptr); }
  InArena(const InArena&) = delete;
  InArena& operator=(const InArena&) = delete;
};

// A word of pinned memory that every device can write to. Words are made once and lent again and again, since
// making one takes longer than a search.
class Word {
 public:
  Word() {
    const std::lock_guard lock(mutex);
    if (free.empty()) {
      check(cudaHostAlloc(&word_, sizeof(*word_), cudaHostAllocPortable | cudaHostAllocMapped));
    } else {
      word_ = free.back();
      free.pop_back();
    }
    *word_ = 0;
  }
  ~Word() {
    const std::lock_guard lock(mutex);
    free.push_back(word_);
  }
  Word(const Word&) = delete;
  Word& operator=(const Word&) = delete;

  int32_t* address() const { return word_; }
  int32_t read() const { return __atomic_load_n(word_, __ATOMIC_ACQUIRE); }

 private:
  static std::mutex mutex;
  static std::vector<int32_t*> free;
  int32_t* word_ = nullptr;
};
std::mutex Word::mutex;
std::vector<int32_t*> Word::free;

struct Done {
  int64_t steps;
  bool ended;
};
Done done(const Word& word) {
  const int64_t value = word.read();
  return {value < 0 ? -value : value, value < 0};
}

// Until so many steps are done, or the loop has ended.
Done wait_for(const Word& word, int64_t steps) {
  for (int looks = 0;; ++looks) {
    const Done now = done(word);
    if (now.ended || now.steps >= steps) return now;
    relax();
    if (looks < kLooks) continue;
    looks = 0;
    const cudaError_t state = cudaStreamQuery(current_stream());
    if (state == cudaErrorNotReady) continue;
    check(state);
    const Done last = done(word);
    if (!last.ended && last.steps < steps) throw std::logic_error("[repeat] A step did not report itself.");
  }
}

// Before step `step` is launched: whether it is to be.
bool wanted(const Word& word, int64_t step) {
#if defined(S2S_CUDA_EMULATED)
  // Nothing is behind there. The host knows what it knew a step ago, so a step too many is launched there,
  // too.
  const Done now = wait_for(word, step - kAhead + 1);
  return !now.ended || now.steps == step;
#else
  return !wait_for(word, step - kAhead + 1).ended;
#endif
}

}  // namespace

int64_t repeat(void (*step)(void*, int32_t*), void* context, int64_t most) {
  if (most < 1) return 0;
  const Word word;
  try {
    Arena arena;
    {
      const InArena measured(arena);
      step(context, word.address());
    }
    const Scratch memory(arena.used() > 0 ? arena.used() : 1);
    arena.close(memory.as<void>());
    const auto next = [&] {
      arena.rewind();
      const InArena inside(arena);
      step(context, word.address());
    };
    int64_t i = 1;
    if (most - i >= kLeastForGraph) {
      const StepGraph graph([&] {
        for (int64_t k = 0; k < kOfGraph; ++k) next();
      });
      for (; graph.made() && i + kOfGraph <= most && wanted(word, i); i += kOfGraph) graph.launch();
    }
    for (; i < most && wanted(word, i); ++i) next();
    return wait_for(word, most).steps;
  } catch (...) {
    cudaStreamSynchronize(current_stream());  // what was launched may still write to the word
    throw;
  }
}

}  // namespace s2s::cuda

// The thread pool of the process, and the barrier of a parallel region. No OpenMP: it fights with PyTorch's
// in one process.
#pragma once

#include <atomic>
#include <cstdint>

namespace s2s {

void set_num_threads(int threads);  // 1 or more; counts the calling thread
int get_num_threads();

// Runs fn(context, part, parts) once for each part in [0, parts), the caller being part 0. `parts` is at most
// the number of threads and `max_parts`; it is 1 where the pool is busy with another caller, so fn must do
// all the work for any `parts`.
using ParallelFunction = void (*)(void* context, int part, int parts);
void run_parallel(ParallelFunction fn, void* context, int max_parts);

// The same for a callable f(part, parts).
template <class F>
void parallel(int max_parts, const F& f) {
  run_parallel([](void* context, int part, int parts) { (*static_cast<const F*>(context))(part, parts); },
               const_cast<F*>(&f), max_parts);
}

// Part `part` of [0, count) cut into `parts` even ranges.
struct Range {
  int64_t begin, end;
};
inline Range share_of(int64_t count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

// All parts of a region wait here for each other. Reusable; spins for a bounded time, then yields the
// processor.
class Barrier {
 public:
  void wait(int parts);

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

}  // namespace s2s

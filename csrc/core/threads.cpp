#include "core/threads.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "core/thread_pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace s2s {
namespace {

// How many processors this process may use.
int processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

int default_threads() {
  const char* text = std::getenv("S2S_NUM_THREADS");
  const int asked = text ? std::atoi(text) : 0;
  return std::clamp(asked >= 1 ? asked : processors(), 1, ThreadPool::kMaxThreads);
}

// Made when the library is loaded, so that no fork can come in between; never destroyed: at exit, joining
// threads would race with the interpreter's own shutdown.
ThreadPool& process_pool = *new ThreadPool(default_threads());

}  // namespace

ThreadPool& ThreadPool::of_process() {
  return process_pool;
}

void set_num_threads(int threads) {
  process_pool.set_threads(threads);
}

int get_num_threads() {
  return process_pool.threads();
}

void run_region(RegionFunction fn, void* context, int64_t steps, int max_parts) {
  ThreadPool::current().run(fn, context, steps, max_parts);
}

}  // namespace s2s

// Detour: keeps a sleeping thread from the processor of whoever wakes it up. Linux likes to put it there,
// though others are idle, and there it waits for the end of a time slice: 1.8 ms instead of 0.1.
#pragma once

#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>

#include <atomic>
#endif

namespace s2s {

class Detour {
 public:
  // By who is about to wake `thread`. Nothing where there is no other processor for it, or the last detour
  // has not ended.
  void begin([[maybe_unused]] std::thread& thread, [[maybe_unused]] int processor) {
#if defined(__linux__)
    const pthread_t handle = thread.native_handle();
    if (processor < 0 || processor >= CPU_SETSIZE || under_way_.load(std::memory_order_acquire) ||
        pthread_getaffinity_np(handle, sizeof(allowed_), &allowed_) != 0)
      return;
    cpu_set_t others = allowed_;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) > 0 && pthread_setaffinity_np(handle, sizeof(others), &others) == 0)
      under_way_.store(true, std::memory_order_release);
#endif
  }

  // By the thread itself, when it runs again.
  void end() {
#if defined(__linux__)
    if (!under_way_.load(std::memory_order_acquire)) return;
    pthread_setaffinity_np(pthread_self(), sizeof(allowed_), &allowed_);  // does not move it back
    under_way_.store(false, std::memory_order_release);
#endif
  }

 private:
#if defined(__linux__)
  std::atomic<bool> under_way_{false};
  cpu_set_t allowed_;  // the waker's until the detour is under way, then the thread's
#endif
};

}  // namespace s2s

// Detour: keeps a sleeping thread from the processor of whoever wakes it up. Linux likes to put it there,
// though others are idle, and there it waits for the end of a time slice: 1.5 ms instead of 0.1.
#pragma once

#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace s2s {

// Calls must exclude each other, and the thread must not set its processors between begin and end.
class Detour {
 public:
  // By who is about to wake `thread`. Nothing where there is no other processor for it.
  void begin([[maybe_unused]] std::thread& thread, [[maybe_unused]] int processor) {
#if defined(__linux__)
    const pthread_t handle = thread.native_handle();
    if (processor < 0 || processor >= CPU_SETSIZE || under_way_ ||
        pthread_getaffinity_np(handle, sizeof(allowed_), &allowed_) != 0)
      return;
    cpu_set_t others = allowed_;
    CPU_CLR(processor, &others);
    under_way_ = CPU_COUNT(&others) > 0 && pthread_setaffinity_np(handle, sizeof(others), &others) == 0;
#endif
  }

  // By the thread itself, when it runs again. A failure is tried again the next time.
  void end() {
#if defined(__linux__)
    if (under_way_)  // what it is set to does not move it back
      under_way_ = pthread_setaffinity_np(pthread_self(), sizeof(allowed_), &allowed_) != 0;
#endif
  }

 private:
#if defined(__linux__)
  bool under_way_ = false;
  cpu_set_t allowed_;  // before the detour
#endif
};

}  // namespace s2s

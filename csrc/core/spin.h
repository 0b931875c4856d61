// Waiting for another thread by looking again and again, for a time that is measured: a pause takes 4 to 140
// cycles, depending on the processor, so a count of them bounds nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace s2s {

inline int64_t nanoseconds_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The processor this thread runs on; -1 where the system does not say.
inline int current_processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread from a processor to another that it may run on; false where there is none.
inline bool leave_processor([[maybe_unused]] int processor) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (processor < 0 || processor >= CPU_SETSIZE || sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return false;
  cpu_set_t others = allowed;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof(others), &others) != 0) return false;
  sched_setaffinity(0, sizeof(allowed), &allowed);  // does not move it back
  return true;
#else
  return false;
#endif
}

// Tells the processor that this is a spinning loop.
inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  asm volatile("yield" ::: "memory");
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

// Looks `pauses` times.
template <class F>
bool look(int pauses, const F& ready) {
  for (int i = 0; i < pauses; ++i) {
    if (ready()) return true;
    relax();
  }
  return false;
}

constexpr int kPausesPerLook = 32;  // between two questions for the time: at most 2 microseconds

// Looks until ready() or until `limit` nanoseconds have passed; whether it was ready.
template <class F>
bool spin_for(int64_t limit, const F& ready) {
  const int64_t begin = nanoseconds_now();
  do {
    if (look(kPausesPerLook, ready)) return true;
  } while (nanoseconds_now() - begin < limit);
  return false;
}

// Looks until ready(); after `patience` nanoseconds it offers the processor to others between two looks. The
// nanoseconds it took; 0 for a short wait, which asks for no time.
template <class F>
int64_t wait_until(int64_t patience, const F& ready) {
  if (look(2 * kPausesPerLook, ready)) return 0;
  const int64_t begin = nanoseconds_now();
  if (!spin_for(patience, ready)) {
    while (!ready()) std::this_thread::yield();
  }
  return nanoseconds_now() - begin;
}

}  // namespace s2s

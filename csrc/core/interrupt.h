// Work of many steps asks at each whether it shall go on: a host language's Ctrl-C ends it there.
#pragma once

#include <atomic>

namespace s2s {

// Throws to end the work. Called often, by any thread, so it is quick.
using InterruptCheck = void (*)();

inline std::atomic<InterruptCheck> interrupt_check{nullptr};

inline void check_interrupt() {
  if (const InterruptCheck check = interrupt_check.load(std::memory_order_relaxed)) check();
}

}  // namespace s2s

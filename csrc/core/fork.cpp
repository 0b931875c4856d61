#include "core/fork.h"

#include <pthread.h>

#include <atomic>

namespace s2s {
namespace {
std::atomic<uint64_t> forks{0};
}

uint64_t fork_count() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
  (void)registered;
  return forks.load(std::memory_order_relaxed);
}

}  // namespace s2s

#include "core/fork.h"

#include <atomic>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace s2s {
namespace {

std::atomic<uint64_t> forks{0};

#if defined(__unix__) || defined(__APPLE__)
// When the library is loaded, so that no fork can come in between.
[[maybe_unused]] const int watches =
    pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
#endif

}  // namespace

uint64_t fork_count() {
  return forks.load(std::memory_order_relaxed);
}

}  // namespace s2s

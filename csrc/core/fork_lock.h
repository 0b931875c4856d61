// A lock for a few instructions that a fork cannot leave locked. (std::atomic<std::shared_ptr> hides a lock
// that it can.)
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "core/fork.h"

namespace s2s {

class ForkLock {
 public:
  class Hold {
   public:
    explicit Hold(ForkLock& lock) : holder_(lock.holder_) {
      const uint64_t mine = fork_count() + 1;
      for (;;) {
        uint64_t seen = holder_.load(std::memory_order_relaxed);
        if (seen != mine && holder_.compare_exchange_weak(seen, mine, std::memory_order_acquire)) {
          orphaned_ = seen != 0;
          return;
        }
        std::this_thread::yield();
      }
    }
    ~Hold() { holder_.store(0, std::memory_order_release); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    // A thread of the parent was in the middle of something when it forked: what the lock guards may be
    // half written.
    bool orphaned() const { return orphaned_; }

   private:
    std::atomic<uint64_t>& holder_;
    bool orphaned_ = false;
  };

 private:
  std::atomic<uint64_t> holder_{0};  // 0: free
};

}  // namespace s2s

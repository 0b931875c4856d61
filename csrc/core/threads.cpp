#include "core/threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace s2s {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kSpins = 4000;  // about 50 microseconds: longer than the gap between two ops of one step
constexpr int kBarrierSpins = 20000;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

// The arithmetic's mode (rounding, denormal numbers) is part of a result's bits: kernels run in the default
// one, whatever the calling thread has set. The worker threads are made by callers and inherit theirs.
class DefaultFloatMode {
 public:
#if defined(__x86_64__)
  DefaultFloatMode() : kept_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~DefaultFloatMode() { _mm_setcsr(kept_); }
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;

 private:
  const unsigned kept_;
#endif
};

class Pool {
 public:
  // Makes as many workers as the system allows, `workers` at most.
  explicit Pool(int workers) {
    for (int i = 0; i < workers; ++i) {
      slots_.push_back(std::make_unique<Slot>());
      try {
        threads_.emplace_back([this, slot = slots_.back().get(), part = i + 1] { work(*slot, part); });
      } catch (const std::system_error&) {
        slots_.pop_back();
        break;
      }
    }
  }

  ~Pool() {
    for (auto& slot : slots_) post(*slot, kStop);
    for (auto& thread : threads_) thread.join();
  }

  int workers() const { return static_cast<int>(slots_.size()); }

  void run(ParallelFunction fn, void* context, int parts) {
    fn_ = fn;
    context_ = context;
    parts_ = parts;
    pending_.store(parts - 1, std::memory_order_relaxed);
    for (int i = 0; i + 1 < parts; ++i) post(*slots_[static_cast<size_t>(i)], kWork);
    fn(context, 0, parts);
    for (int64_t spin = 0; pending_.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kBarrierSpins) {
        relax();
      } else {
        sched_yield();
      }
    }
  }

 private:
  enum Command : int { kIdle, kWork, kStop };
  struct alignas(64) Slot {
    std::atomic<int> command{kIdle};
    std::atomic<bool> asleep{false};
  };

  static void post(Slot& slot, Command command) {
    slot.command.store(command, std::memory_order_seq_cst);
    if (slot.asleep.load(std::memory_order_seq_cst)) slot.command.notify_one();
  }

  void work(Slot& slot, int part) {
    [[maybe_unused]] const DefaultFloatMode mode;
    for (;;) {
      int command = kIdle;
      for (int spin = 0; spin < kSpins; ++spin) {
        command = slot.command.load(std::memory_order_acquire);
        if (command != kIdle) break;
        relax();
      }
      if (command == kIdle) {
        slot.asleep.store(true, std::memory_order_seq_cst);
        slot.command.wait(kIdle, std::memory_order_seq_cst);
        slot.asleep.store(false, std::memory_order_relaxed);
        command = slot.command.load(std::memory_order_acquire);
      }
      if (command == kStop) return;
      slot.command.store(kIdle, std::memory_order_relaxed);
      fn_(context_, part, parts_);
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::thread> threads_;
  ParallelFunction fn_ = nullptr;
  void* context_ = nullptr;
  int parts_ = 0;
  alignas(64) std::atomic<int> pending_{0};
};

// Never destroyed: at exit, joining threads would race with the interpreter's own shutdown.
struct State {
  std::mutex busy;  // held by the caller that uses the pool
  Pool* pool = nullptr;
  int pool_asked = 0;
  std::atomic<int> threads{0};
};

State* state = nullptr;

int default_threads() {
  if (const char* text = std::getenv("S2S_NUM_THREADS")) {
    const int threads = std::atoi(text);
    if (threads >= 1) return std::min(threads, kMaxThreads);
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::clamp(CPU_COUNT(&set), 1, kMaxThreads);
  return 1;
}

State& get_state() {
  static std::once_flag once;
  std::call_once(once, [] {
    state = new State;
    state->threads = default_threads();
    // A forked child has none of the parent's threads: it starts with a pool of its own (the parent's is left
    // behind).
    pthread_atfork(nullptr, nullptr, [] {
      const int threads = state->threads;
      state = new State;
      state->threads = threads;
    });
  });
  return *state;
}

}  // namespace

void set_num_threads(int threads) {
  check("set_num_threads", threads >= 1 && threads <= kMaxThreads, "Expected threads from 1 to ", kMaxThreads,
        ", got ", threads, ".");
  get_state().threads = threads;
}

int get_num_threads() {
  return get_state().threads;
}

void run_parallel(ParallelFunction fn, void* context, int max_parts) {
  [[maybe_unused]] const DefaultFloatMode mode;
  State& s = get_state();
  int parts = std::min<int>(max_parts, s.threads);
  if (parts <= 1) return fn(context, 0, 1);
  std::unique_lock<std::mutex> lock(s.busy, std::try_to_lock);
  if (!lock.owns_lock()) return fn(context, 0, 1);
  if (s.pool == nullptr || s.pool_asked < parts - 1) {
    delete s.pool;
    s.pool = nullptr;
    s.pool = new Pool(parts - 1);
    s.pool_asked = parts - 1;  // what was asked for, not what came: not to try again at each call
  }
  parts = std::min(parts, s.pool->workers() + 1);
  if (parts == 1) return fn(context, 0, 1);
  s.pool->run(fn, context, parts);
}

void Barrier::wait(int parts) {
  if (parts == 1) return;
  const int phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == parts - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int64_t spin = 0; phase_.load(std::memory_order_acquire) == phase; ++spin) {
    if (spin < kBarrierSpins) {
      relax();
    } else {
      sched_yield();
    }
  }
}

}  // namespace s2s

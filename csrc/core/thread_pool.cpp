#include "core/thread_pool.h"

#include <algorithm>

#include "core/error.h"
#include "core/float_mode.h"
#include "core/fork.h"
#include "core/spin.h"
#include "core/thread_team.h"

namespace s2s {
namespace {

// Which process this is, in a line of forks. A child has none of its parent's threads, and a pool may look as
// if another thread were in the middle of using it: teams and holders of an earlier generation are left
// behind untouched.
uint64_t generation() {
  return fork_count() + 1;
}

thread_local ThreadPool* current_pool = nullptr;

// After a stall the pool's callers run alone for as long as it took, and where stalls come soon after each
// other for twice as long each time: on a busy machine little time is lost, on a quiet one a hiccup is soon
// forgotten.
constexpr int64_t kSoon = 8;  // within so many times the time alone
constexpr int64_t kLongestAlone = 20'000'000;

void check_threads(const char* op, int threads) {
  check(op, threads >= 1 && threads <= ThreadPool::kMaxThreads, "Expected threads from 1 to ",
        ThreadPool::kMaxThreads, ", got ", threads, ".");
}

}  // namespace

// Held from a region's begin to its end. Whoever held the pool when an earlier generation forked is not here.
class ThreadPool::Hold {
 public:
  explicit Hold(std::atomic<uint64_t>& holder) : holder_(holder) {
    const uint64_t mine = generation();
    uint64_t seen = holder_.load(std::memory_order_relaxed);
    held_ = seen != mine && holder_.compare_exchange_strong(seen, mine, std::memory_order_acquire);
  }
  ~Hold() {
    if (held_) holder_.store(0, std::memory_order_release);
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  explicit operator bool() const { return held_; }

 private:
  std::atomic<uint64_t>& holder_;
  bool held_;
};

ThreadPool::ThreadPool(int threads) : threads_(threads) {
  check_threads("ThreadPool", threads);
}

ThreadPool::~ThreadPool() {
  if (team_generation_ != generation()) static_cast<void>(team_.release());
}

void ThreadPool::set_threads(int threads) {
  check_threads("set_num_threads", threads);
  threads_.store(threads, std::memory_order_relaxed);
}

ThreadPool& ThreadPool::current() {
  return current_pool ? *current_pool : of_process();
}

ThreadPool::Scope::Scope(ThreadPool& pool) : before_(current_pool) {
  current_pool = &pool;
}

ThreadPool::Scope::~Scope() {
  current_pool = before_;
}

void ThreadPool::run(RegionFunction fn, void* context, int64_t steps, int max_parts) {
  [[maybe_unused]] const DefaultFloatMode mode;
  int parts = std::min(max_parts, threads());
  if (parts > 1 && steps > 0 && !ThreadTeam::is_worker()) {
    const Hold hold(holder_);
    if (hold && (parts = parts_together(parts)) > 1) {
      if (const int64_t stall = team_->lead(fn, context, steps, parts)) part_company(stall);
      return;
    }
  }
  fn(context, 0, steps, 0, 1);
}

// How many of `parts` threads can begin a region now; makes the team if need be.
int ThreadPool::parts_together(int parts) {
  if (alone_ && (alone_ = nanoseconds_now() < alone_until_)) return 1;
  const uint64_t mine = generation();
  if (team_generation_ != mine) static_cast<void>(team_.release());
  if (team_ == nullptr || workers_asked_ < parts - 1) {
    team_.reset();
    team_ = std::make_unique<ThreadTeam>(parts - 1);
    team_generation_ = mine;
    workers_asked_ = parts - 1;  // not what came: not to try again at each region
  }
  return team_->ready() ? std::min(parts, team_->workers() + 1) : 1;
}

void ThreadPool::part_company(int64_t stall) {
  const int64_t now = nanoseconds_now();
  const bool soon = now - stall - alone_until_ < kSoon * alone_for_;
  alone_for_ = std::max(stall, soon ? std::min(2 * alone_for_, kLongestAlone) : 0);
  alone_until_ = now + alone_for_;
  alone_ = true;
}

}  // namespace s2s

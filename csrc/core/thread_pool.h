// A pool of threads for parallel regions. No OpenMP: it fights with PyTorch's in one process.
//
// Whoever needs threads of its own owns a pool and makes it current for its calls:
//   ThreadPool::Scope scope(pool);  // the regions this thread begins now run there
// One caller at a time: another that finds the pool busy runs its region alone, and so does a region inside a
// part of another. Workers are made by the first region that wants them; after that nothing is allocated. A
// forked child makes new ones. A pool may be destroyed when no region runs on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/threads.h"

namespace s2s {

class ThreadTeam;

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 256;

  explicit ThreadPool(int threads);  // 1 to kMaxThreads; counts the calling thread
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  void set_threads(int threads);  // from the next region on

  // See parallel and parallel_steps of core/threads.h.
  void run(RegionFunction fn, void* context, int64_t steps, int max_parts);

  static ThreadPool& of_process();
  static ThreadPool& current();

  class Scope {
   public:
    explicit Scope(ThreadPool& pool);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    ThreadPool* const before_;
  };

 private:
  class Hold;

  int parts_together(int parts);
  void part_company(int64_t stall);

  std::atomic<int> threads_;
  std::atomic<uint64_t> holder_{0};  // 0: free
  // What follows belongs to the holder.
  std::unique_ptr<ThreadTeam> team_;
  uint64_t team_generation_ = 0;
  int workers_asked_ = 0;
  bool alone_ = false;  // after a stall; the times are in nanoseconds
  int64_t alone_for_ = 0, alone_until_ = 0;
};

}  // namespace s2s

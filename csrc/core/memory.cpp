#include "core/memory.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <new>

namespace s2s {
namespace {

// Sizes are rounded up to eighths of a power of two: at most 12.5 % is lost, and ragged batches of like size
// share blocks.
size_t rounded(size_t bytes) {
  if (bytes <= 512) return 512;
  size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

struct Block {
  void* memory;
  uint64_t freed;  // when, in blocks
};

struct Pool {
  std::mutex mutex;
  std::map<size_t, std::deque<Block>> free_blocks;  // of a size the oldest first
  uint64_t clock = 0;
  int64_t peak = 0;  // the most that was in use
  MemoryStats stats{0, 0, 0};
};

constexpr size_t kHugePage = 1 << 21;

std::align_val_t alignment_of(size_t bytes) {
  return std::align_val_t{bytes < kHugePage ? kAlignment : kHugePage};
}

// nullptr where there is no memory. (Not std::aligned_alloc, which Windows has not.) Large blocks lie in huge
// pages where the system has them, so that products that walk far apart rows seldom wait for an address.
void* system_allocate(size_t bytes) {
  void* block = ::operator new(bytes, alignment_of(bytes), std::nothrow);
#if defined(__linux__)
  if (block && bytes >= kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}
void system_free(void* block, size_t bytes) {
  ::operator delete(block, alignment_of(bytes));
}

// Never destroyed: tensors may outlive static destruction. The lock is held over a fork, so that the child
// finds it free.
Pool& pool() {
  static Pool* instance = [] {
    static Pool* made = new Pool;
#if !defined(_WIN32)
    pthread_atfork([] { made->mutex.lock(); }, [] { made->mutex.unlock(); }, [] { made->mutex.unlock(); });
#endif
    return made;
  }();
  return *instance;
}

void give_back(void* block, size_t size) {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.stats.in_use -= static_cast<int64_t>(size);
  try {
    p.free_blocks[size].push_back({block, p.clock++});
    p.stats.kept += static_cast<int64_t>(size);
  } catch (const std::bad_alloc&) {  // no room to keep it
    system_free(block, size);
  }
}

// Blocks of sizes that are asked for no more would add up while batches grow. So what is kept and in use may
// be twice the most that was ever in use, and a bit; beyond it, the system gets back what has been free the
// longest.
constexpr int64_t kSpare = 64 << 20;

void free_oldest(Pool& p) {
  while (p.stats.kept + p.stats.in_use > 2 * p.peak + kSpare && p.stats.kept > 0) {
    auto oldest = p.free_blocks.end();
    for (auto at = p.free_blocks.begin(); at != p.free_blocks.end(); ++at) {
      if (at->second.empty()) continue;
      if (oldest == p.free_blocks.end() || at->second.front().freed < oldest->second.front().freed) {
        oldest = at;
      }
    }
    system_free(oldest->second.front().memory, oldest->first);
    oldest->second.pop_front();
    p.stats.kept -= static_cast<int64_t>(oldest->first);
  }
}

}  // namespace

std::shared_ptr<void> allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 4) throw std::bad_alloc();
  size_t size = rounded(bytes);
  Pool& p = pool();
  void* block = nullptr;
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    // A block up to twice as large will do: else those kept of every size would add up without end.
    auto found = p.free_blocks.lower_bound(size);
    while (found != p.free_blocks.end() && found->second.empty()) ++found;
    if (found != p.free_blocks.end() && found->first <= 2 * size) {
      size = found->first;
      block = found->second.back().memory;
      found->second.pop_back();
      p.stats.kept -= static_cast<int64_t>(size);
    } else {
      p.stats.system_calls += 1;
    }
    p.stats.in_use += static_cast<int64_t>(size);
    p.peak = std::max(p.peak, p.stats.in_use);
    if (block == nullptr) free_oldest(p);
  }
  if (block == nullptr) block = system_allocate(size);
  if (block == nullptr) {
    release_memory();
    block = system_allocate(size);
  }
  if (block == nullptr) {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.stats.in_use -= static_cast<int64_t>(size);
    throw std::bad_alloc();
  }
  return std::shared_ptr<void>(block, [size](void* pointer) { give_back(pointer, size); });
}

MemoryStats memory_stats() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  return p.stats;
}

void release_memory() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  for (auto& [size, blocks] : p.free_blocks) {
    for (const Block& block : blocks) system_free(block.memory, size);
    p.stats.kept -= static_cast<int64_t>(size * blocks.size());
  }
  p.free_blocks.clear();
  p.peak = p.stats.in_use;
}

}  // namespace s2s

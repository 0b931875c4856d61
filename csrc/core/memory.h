// Memory of tensors: 64-byte aligned blocks, kept for reuse when freed, so that a warmed-up loop asks the
// system for nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace s2s {

constexpr size_t kAlignment = 64;

// At least `bytes` bytes, aligned to kAlignment, not initialised. The block returns to the pool with its last
// owner.
std::shared_ptr<void> allocate(size_t bytes);

struct MemoryStats {
  int64_t in_use;        // bytes owned by live tensors
  int64_t kept;          // bytes kept for reuse
  int64_t system_calls;  // how often the system was asked for a block
};
MemoryStats memory_stats();

// Gives every kept block back to the system.
void release_memory();

}  // namespace s2s

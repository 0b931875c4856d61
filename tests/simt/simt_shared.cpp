// Shared memory: each variable of a block is a block of the heap of exactly its size, so that
// AddressSanitizer sees the access that goes beyond.
#include <cstdlib>
#include <cstring>

#include "simt_sanitizers.h"
#include "simt_state.h"

namespace simt {
namespace {

const char kDynamic = 0;  // stands for the declaration of dynamic shared memory
constexpr size_t kDynamicAlignment = 128;
constexpr size_t kStaticLimit = 48 * 1024;

Variable make_variable(const void* declaration, size_t bytes, size_t alignment) {
  // Under AddressSanitizer a variable is aligned to what its declaration says and no further: who loads a
  // float4 from an array of floats is found out (by UndefinedBehaviorSanitizer, which comes with it).
  const size_t heap = alignment < 16 ? 16 : alignment;
  const size_t offset = address_sanitizer() && alignment < 16 ? alignment : 0;
  void* p = nullptr;
  if (posix_memalign(&p, heap, offset + bytes) != 0) fail({nullptr, 0, "S2S_SHARED"}, "out of memory");
  Variable v = {declaration, static_cast<char*>(p), static_cast<char*>(p) + offset, bytes, alignment};
  std::memset(v.memory, 0xff, offset + bytes);
  return v;
}

Variable& find(Block* block, const void* declaration, size_t bytes, size_t alignment) {
  for (Variable& v : block->shared)
    if (v.declaration == declaration) return v;
  block->shared.push_back(make_variable(declaration, bytes, alignment));
  block->shared_bytes += bytes;
  return block->shared.back();
}

}  // namespace

void* shared_variable(const void* declaration, size_t bytes, size_t alignment) {
  Block* block = state.thread->block;
  for (const Variable& v : block->shared)
    if (v.declaration == declaration) return v.p;
  const Unseen unseen;
  const Place place = {nullptr, 0, "S2S_SHARED"};
  const size_t dynamic = state.launch->dynamicSmemBytes;
  size_t fixed = bytes;
  for (const Variable& v : block->shared) fixed += v.declaration == &kDynamic ? 0 : v.bytes;
  if (fixed > kStaticLimit) fail(place, "more than 48 KiB of static shared memory");
  if (fixed + dynamic > device().shared_per_block) fail(place, "more shared memory than a block can have");
  return find(block, declaration, bytes, alignment).p;
}

void* dynamic_shared() {
  const Unseen unseen;
  return find(state.thread->block, &kDynamic, state.launch->dynamicSmemBytes, kDynamicAlignment).p;
}

void* shared_of_rank(const void* pointer, unsigned rank, Place place) {
  const Unseen unseen;
  const auto* p = static_cast<const char*>(pointer);
  Block* block = state.thread->block;
  if (rank >= block->cluster->blocks.size()) fail(place, "the cluster has no such block");
  for (const Variable& v : block->shared) {
    if (p < v.p || p > v.p + v.bytes) continue;
    const ptrdiff_t offset = p - v.p;
    return find(block->cluster->blocks[rank], v.declaration, v.bytes, v.alignment).p + offset;
  }
  fail(place, "the pointer is not to the calling block's shared memory");
}

void close_shared(Block* block) {
  for (const Variable& v : block->shared) {
    std::memset(v.p, 0xff, v.bytes);
    if (address_sanitizer()) __asan_poison_memory_region(v.p, v.bytes);
  }
}

Block::~Block() {
  for (const Variable& v : shared) {
    if (address_sanitizer()) __asan_unpoison_memory_region(v.p, v.bytes);
    std::free(v.memory);
  }
}

}  // namespace simt

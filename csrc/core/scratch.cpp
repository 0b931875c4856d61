#include "core/scratch.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "core/memory.h"

namespace s2s {
namespace {

struct Buffer {
  void* data = nullptr;
  size_t size = 0;
  ~Buffer() { ::operator delete(data, std::align_val_t{kAlignment}); }
};
thread_local Buffer buffer;

}  // namespace

void* thread_scratch(size_t bytes) {
  if (bytes > SIZE_MAX / 4) throw std::bad_alloc();
#if defined(__SANITIZE_ADDRESS__)
  const size_t size = bytes;  // each request a block of its own, so that writing past its end is seen
#else
  if (bytes <= buffer.size) return buffer.data;
  constexpr size_t kPage = 4096;
  const size_t size = (std::max(bytes, buffer.size * 3 / 2) + kPage - 1) / kPage * kPage;
#endif
  void* grown = ::operator new(size, std::align_val_t{kAlignment});
  ::operator delete(buffer.data, std::align_val_t{kAlignment});
  buffer.data = grown;
  buffer.size = size;
  return grown;
}

}  // namespace s2s

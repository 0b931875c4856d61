// Devices, streams and memory, for the kernels' host code and for the rest of the program (backend.cpp).
#pragma once

#include <cstddef>

#include "core/device.h"
#include "cuda/backend.h"
#include "cuda/detail/simt.h"

namespace s2s::cuda {

void use(int index);  // makes it this thread's device, in its default stream unless it is that already
void use_stream(void* stream);
void* new_stream();
void free_stream(void* stream);
void order(void* earlier, void* later);

std::shared_ptr<void> allocate(size_t bytes);
void zero(void* to, size_t bytes);
void copy(void* to, const void* from, size_t bytes);
void copy_in(void* to, const void* host, size_t bytes);
void copy_out(void* host, const void* from, size_t bytes);
void synchronize();
int64_t repeat(void (*step)(void*, int32_t*), void* context, int64_t most);
void release_memory();

// Where the memory comes from that calls of this thread take in the steps of a loop (repeat.cpp): at first
// the pool, whose bytes are counted; once it has memory of its own, from there.
class Arena {
 public:
  void* take(size_t bytes);
  bool holds(const void* p) const { return p >= memory_ && static_cast<const char*>(p) < memory_ + size_; }
  bool closed() const { return memory_ != nullptr; }
  size_t used() const { return used_; }
  void close(void* memory) {
    memory_ = static_cast<char*>(memory);
    size_ = used_;
    used_ = 0;
  }
  void rewind() { used_ = 0; }  // before the next step

 private:
  char* memory_ = nullptr;
  size_t size_ = 0, used_ = 0;
};
void use_arena(Arena* arena);  // of this thread; null: none

int device_count(char* why, size_t size, int* driver, int* runtime);
void device_info(int index, CudaDeviceInfo* info);
int device_of(const void* memory);

}  // namespace s2s::cuda

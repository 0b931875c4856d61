// What csrc/cuda's host code defines, for a native test that is linked without it.
#include "cuda/cublas.h"
#include "cuda/detail/simt.h"

#define S2S_WEAK __attribute__((weak))

namespace s2s::cuda {

S2S_WEAK cudaStream_t current_stream() {
  return nullptr;
}
S2S_WEAK void* device_allocate(size_t bytes) {
  void* p = nullptr;
  check(cudaMallocAsync(&p, bytes, current_stream()));
  return p;
}
S2S_WEAK void device_free(void* p) noexcept {
  cudaFreeAsync(p, current_stream());
}
S2S_WEAK void copy_to_device(void* device, const void* host, size_t bytes) {
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, current_stream()));
}

S2S_WEAK bool has_library() {
  return false;
}
S2S_WEAK bool library_matmul(const LibraryProduct&) {
  return false;
}

}  // namespace s2s::cuda

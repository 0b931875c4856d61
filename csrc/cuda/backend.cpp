// The one function that the library exports.
#include "cuda/backend.h"

#include "cuda/cublas.h"
#include "cuda/runtime.h"

namespace s2s::cuda {

extern const Kernels table;

namespace {

constexpr DeviceApi memory{use, allocate, zero, copy, copy_in, copy_out, synchronize, repeat};

void* stream_in_use() {
  return current_stream();
}

const CudaBackend backend{
    kCudaAbi,      S2S_VERSION,
#if defined(S2S_CUDA_EMULATED)
    true,
#else
    false,
#endif
    &table,        &memory,     device_count, device_info, new_stream,     free_stream,
    stream_in_use, use_stream,  order,        device_of,   release_memory, set_cublas,
};

}  // namespace
}  // namespace s2s::cuda

__attribute__((visibility("default"))) const s2s::CudaBackend* s2s_cuda_backend() {
  return &s2s::cuda::backend;
}

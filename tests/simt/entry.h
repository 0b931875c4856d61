// What the library of test kernels (twins.cu, latency.cu) shares: C functions for Python's ctypes, host
// arrays in and out. Each returns null, or a sentence about what went wrong, which holds until the thread's
// next call.
#pragma once

#include <exception>
#include <string>

#include "cuda/detail/simt.h"

#define S2S_ENTRY extern "C" __attribute__((visibility("default")))

namespace s2s::cuda {

template <class F>
const char* guarded(const F& f) noexcept {
  static thread_local std::string message;
  try {
    f();
    return nullptr;
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
}

// Waits for what is on the stream.
template <class T>
void fetch(T* host, const Scratch& memory, int64_t n) {
  check(cudaMemcpyAsync(host, memory.as<T>(), static_cast<size_t>(n) * sizeof(T), cudaMemcpyDeviceToHost,
                        current_stream()));
  check(cudaStreamSynchronize(current_stream()));
}

inline Scratch zeros(size_t bytes) {
  Scratch memory(bytes);
  check(cudaMemsetAsync(memory.as<char>(), 0, bytes, current_stream()));
  return memory;
}

}  // namespace s2s::cuda

// The four functions of cuBLAS that csrc/cuda/cublas.cpp calls, written from NVIDIA's documentation as plain
// loops, for the emulated device: they show that matrices are described to the library as they lie.
#include <atomic>
#include <cstdint>
#include <type_traits>

#include "simt_half.h"

#define S2S_ENTRY extern "C" __attribute__((visibility("default")))

namespace {

enum { kSuccess = 0, kInvalid = 7, kNotSupported = 15 };
enum { kPlain = 0, kTransposed = 1 };
enum { kFloat32 = 0, kFloat16 = 2, kBFloat16 = 14, kComputeFloat32 = 68 };

std::atomic<int> calls{0};

// Column-major: element (row, column) of a matrix whose columns are `stride` elements apart.
template <class T>
float at(const void* matrix, int operation, int64_t stride, int64_t row, int64_t column) {
  if (operation == kTransposed) std::swap(row, column);
  return static_cast<const T*>(matrix)[column * stride + row];
}

template <class T>
void multiply(int transa, int transb, int m, int n, int k, const void* a, int lda, const void* b, int ldb,
              float beta, float* c, int ldc) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) {
      float sum = 0.0f;
      for (int64_t l = 0; l < k; ++l) sum += at<T>(a, transa, lda, i, l) * at<T>(b, transb, ldb, l, j);
      float& out = c[j * ldc + i];
      out = beta == 0.0f ? sum : sum + beta * out;
    }
  }
}

}  // namespace

S2S_ENTRY int s2s_emulated_cublas() {
  return calls;
}

S2S_ENTRY int cublasCreate_v2(void** handle) {
  *handle = &calls;
  return kSuccess;
}
S2S_ENTRY int cublasSetStream_v2(void* handle, void*) {
  return handle == &calls ? kSuccess : kInvalid;
}
S2S_ENTRY int cublasSetWorkspace_v2(void* handle, void* memory, size_t) {
  return handle == &calls && reinterpret_cast<uintptr_t>(memory) % 256 == 0 ? kSuccess : kInvalid;
}
// c [m, n] = alpha op(a) [m, k] op(b) [k, n] + beta c.
S2S_ENTRY int cublasGemmEx(void* handle, int transa, int transb, int m, int n, int k, const void* alpha,
                           const void* a, int type_a, int lda, const void* b, int type_b, int ldb,
                           const void* beta, void* c, int type_c, int ldc, int compute, int) {
  if (handle != &calls || lda < (transa == kPlain ? m : k) || ldb < (transb == kPlain ? k : n) || ldc < m)
    return kInvalid;
  if (type_a != type_b || type_c != kFloat32 || compute != kComputeFloat32 ||
      *static_cast<const float*>(alpha) != 1.0f)
    return kNotSupported;
  const auto run = [&](auto element) {
    multiply<decltype(element)>(transa, transb, m, n, k, a, lda, b, ldb, *static_cast<const float*>(beta),
                                static_cast<float*>(c), ldc);
    ++calls;
    return static_cast<int>(kSuccess);
  };
  if (type_a == kFloat32) return run(float{});
  if (type_a == kFloat16) return run(__half{});
  if (type_a == kBFloat16) return run(__nv_bfloat16{});
  return kNotSupported;
}

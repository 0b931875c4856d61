// Large products by cuBLAS, opened at run time: a PyTorch's that is loaded already, else the one that Python
// has found (set_cublas), else the system's. S2S_CUBLAS=0 does without.
#pragma once

#include "ops/compute_type.h"

namespace s2s::cuda {

// A path of libcublas to try before the system's own places; null or empty: none.
void set_cublas(const char* path);

bool has_library();

// c = a b, or c += a b, of elements of `type` (all but int8), sums and c in float32, never by TF32.
struct LibraryProduct {
  int64_t m, n, k;
  ComputeType type;
  const void* a;  // a[m][k] at m * a_row_stride + k * a_k_stride, one of them 1
  int64_t a_row_stride, a_k_stride;
  const void* b;  // b[k][n] at n * b_stride + k
  int64_t b_stride;
  float* c;
  int64_t c_stride;
  bool accumulate;
};

// On the current stream. False where there is no library or it cannot: nothing is done then.
bool library_matmul(const LibraryProduct& product);

}  // namespace s2s::cuda

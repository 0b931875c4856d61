// A strip: 128 neighbouring columns of a matrix, a quad for each lane, and the rows shared out over the warps
// of a block, row i to warp i % 8. Each warp has a sum; together() adds them in the order of the warps.
#pragma once

#include "cuda/detail/quad.h"

namespace s2s::cuda {

constexpr int kStripWarps = 8;
constexpr int kStripBlock = kStripWarps * kWarp;
constexpr int kStripColumns = kWarp * kQuad;

// The first column of this lane's quad; strips lie along the grid's y.
__device__ __forceinline__ int64_t strip_column() {
  return int64_t{blockIdx.y} * kStripColumns + kQuad * (threadIdx.x % kWarp);
}
__device__ __forceinline__ int strip_warp() {
  return threadIdx.x / kWarp;
}

// Warp i gets sum i of COUNT <= 8 of all warps together; the rest get nothing of use.
template <int COUNT>
__device__ __forceinline__ float4 together(const float4 (&sums)[COUNT]) {
  static_assert(COUNT <= kStripWarps);
  S2S_SHARED(float4[kStripWarps][COUNT][kWarp], of_warp);
  const int lane = threadIdx.x % kWarp, warp = strip_warp();
#pragma unroll
  for (int i = 0; i < COUNT; ++i) of_warp[warp][i][lane] = sums[i];
  __syncthreads();
  float4 total = of_warp[0][warp % COUNT][lane];
#pragma unroll
  for (int w = 1; w < kStripWarps; ++w) total = total + of_warp[w][warp % COUNT][lane];
  return total;
}

inline dim3 strips(int64_t count, int64_t width) {
  return dim3(blocks(count), blocks(ceil_div(width, kStripColumns)));
}

}  // namespace s2s::cuda

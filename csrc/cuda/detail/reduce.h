// Sums and maxima over a group of threads: a warp (THREADS = 32) or a whole block. Every thread gets the same
// bits, by an order that depends on THREADS alone.
#pragma once

#include <cmath>

#include "cuda/detail/quad.h"

namespace s2s::cuda {

template <class T, class F>
__device__ __forceinline__ T warp_fold(T x, const F& f) {
#pragma unroll
  for (int d = kWarp / 2; d > 0; d /= 2) x = f(x, __shfl_xor_sync(kAllLanes, x, d));
  return x;
}

template <int THREADS, class T, class F>
__device__ __forceinline__ T group_fold(T x, const F& f, T neutral) {
  x = warp_fold(x, f);
  if constexpr (THREADS > kWarp) {
    S2S_SHARED(T[kWarp], of_warp);
    const int lane = threadIdx.x % kWarp;
    if (lane == 0) of_warp[threadIdx.x / kWarp] = x;
    __syncthreads();
    x = warp_fold(lane < THREADS / kWarp ? of_warp[lane] : neutral, f);
    __syncthreads();  // of_warp may be written again
  }
  return x;
}

template <int THREADS, class T>
__device__ __forceinline__ T group_sum(T x) {
  return group_fold<THREADS>(x, [](T a, T b) { return a + b; }, T{0});
}
// Passes over NaN.
template <int THREADS>
__device__ __forceinline__ float group_max(float x) {
  return group_fold<THREADS>(x, [](float a, float b) { return fmaxf(a, b); }, -INFINITY);
}
template <int THREADS>
__device__ __forceinline__ int group_min(int x) {
  return group_fold<THREADS>(x, [](int a, int b) { return min(a, b); }, INT32_MAX);
}
template <int THREADS>
__device__ __forceinline__ bool group_any(bool x) {
  return group_fold<THREADS>(static_cast<int>(x), [](int a, int b) { return a | b; }, 0) != 0;
}

// The sums of COUNT values (a power of two up to 32) over a warp, in fewer than COUNT + 5 shuffles: lane l
// gets that of value l * COUNT / 32. Each sum has the order of group_sum<32>, whichever value it is.
template <int COUNT>
__device__ __forceinline__ float warp_sums(float (&x)[COUNT]) {
  static_assert((COUNT & (COUNT - 1)) == 0 && COUNT <= kWarp);
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int d = kWarp / 2, half = COUNT / 2; d > 0; d /= 2, half /= 2) {
    if (half == 0) x[0] += __shfl_xor_sync(kAllLanes, x[0], d);
    const bool upper = lane & d;  // this lane goes on with the upper half of the values
#pragma unroll
    for (int i = 0; i < COUNT / 2; ++i) {
      if (i >= half) break;
      const float give = upper ? x[i] : x[i + half], keep = upper ? x[i + half] : x[i];
      x[i] = keep + __shfl_xor_sync(kAllLanes, give, d);
    }
  }
  return x[0];
}

}  // namespace s2s::cuda

// A quad: four neighbouring elements of a row, what a thread reads and writes at once. Which quads a thread
// has never depends on whether their memory is aligned, so that a sum has the same order wherever a row
// begins.
#pragma once

#include <cstdint>

#include "cuda/detail/simt.h"

namespace s2s::cuda {

constexpr int kQuad = 4;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

inline int64_t ceil_div(int64_t count, int64_t by) {
  return (count + by - 1) / by;
}
inline unsigned blocks(int64_t count) {
  return static_cast<unsigned>(count);  // of a grid: 2^31 - 1 at most, more than any memory has rows
}

// Whether every row that begins at p + r stride may be read 16 bytes at a time.
inline bool aligned(const void* p, int64_t stride = 0) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride % kQuad == 0;
}

// The first `left` elements, `rest` in the place of the others.
template <class Int>
__device__ __forceinline__ float4 load_quad(const float* p, Int left, bool aligned, float rest = 0.0f) {
  if (aligned && left >= kQuad) return *reinterpret_cast<const float4*>(p);
  float4 q = {rest, rest, rest, rest};
  if (left > 0) q.x = p[0];
  if (left > 1) q.y = p[1];
  if (left > 2) q.z = p[2];
  if (left > 3) q.w = p[3];
  return q;
}
template <class Int>
__device__ __forceinline__ void store_quad(float* p, float4 q, Int left, bool aligned) {
  if (aligned && left >= kQuad) {
    *reinterpret_cast<float4*>(p) = q;
    return;
  }
  if (left > 0) p[0] = q.x;
  if (left > 1) p[1] = q.y;
  if (left > 2) p[2] = q.z;
  if (left > 3) p[3] = q.w;
}

// f of each element of quads of one place, which it may change.
template <class F, class... Quads>
__device__ __forceinline__ void each(const F& f, Quads&... q) {
  f(q.x...);
  f(q.y...);
  f(q.z...);
  f(q.w...);
}

__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
}

}  // namespace s2s::cuda

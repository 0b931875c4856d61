// Element by element: a thread has one quad, of a flat array or of a row. A warp has 32 neighbouring quads.
#pragma once

#include "cuda/detail/quad.h"

namespace s2s::cuda {

constexpr int kElementsBlock = 256;

// The first element of this thread's quad of a flat array of `count`.
__device__ __forceinline__ int64_t flat_place() {
  return (int64_t{blockIdx.x} * kElementsBlock + threadIdx.x) * kQuad;
}
inline Launch launch_flat(int64_t count) {
  return {.grid = blocks(ceil_div(count, kElementsBlock * kQuad)), .block = kElementsBlock};
}

// The same of rows that are `width` wide; rows at or past the last have nothing to do.
struct Place {
  int64_t row, column;
};
__device__ __forceinline__ Place row_place(int64_t width) {
  const unsigned chunks = static_cast<unsigned>((width + kWarp * kQuad - 1) / (kWarp * kQuad));
  const unsigned warp = (blockIdx.x * kElementsBlock + threadIdx.x) / kWarp;
  const unsigned quad = warp % chunks * kWarp + threadIdx.x % kWarp;
  return {warp / chunks, int64_t{quad} * kQuad};
}
inline Launch launch_rows_of(int64_t rows, int64_t width) {
  const int64_t warps = rows * ceil_div(width, kWarp * kQuad);
  return {.grid = blocks(ceil_div(warps, kElementsBlock / kWarp)), .block = kElementsBlock};
}

}  // namespace s2s::cuda

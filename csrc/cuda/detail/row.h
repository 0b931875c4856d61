// A row in the hands of a group of threads: a warp, or a block where the row is wide. The width alone
// decides. Thread t has its quads t, t + THREADS, ...: they are read again, from the cache, for each pass
// over the row.
#pragma once

#include "cuda/detail/reduce.h"
#include "math/exp.h"

namespace s2s::cuda {

struct TopAndTotal {
  float top;    // the largest element; a NaN is passed over
  float total;  // sum of exp(x - top); NaN where the row holds NaN, or where top is infinite
};

template <int THREADS>
class Row {
 public:
  static constexpr int kThreads = THREADS;

  __device__ __forceinline__ Row(const float* row, int64_t width, bool aligned)
      : row_(row), width_(static_cast<int>(width)), aligned_(aligned) {}

  __device__ __forceinline__ int width() const { return width_; }

  // f(column, quad) for each quad of this thread; the elements past the width are -infinity.
  template <class F>
  __device__ __forceinline__ void for_quads(const F& f) const {
    for (int c = kQuad * rank(); c < width_; c += kQuad * THREADS) {
      float4 q = load_quad(row_ + c, width_ - c, aligned_, -INFINITY);
      f(c, q);
    }
  }

  // In one pass: each thread's sum is relative to the largest element it has seen so far.
  __device__ __forceinline__ TopAndTotal top_and_total() const {
    float mine = -INFINITY, sum = 0.0f;
    for_quads([&](int, float4 q) {
      const float larger = fmaxf(mine, fmaxf(fmaxf(q.x, q.y), fmaxf(q.z, q.w)));
      if (larger > mine) sum *= math::exp(mine - larger);
      mine = larger;
      const float shift = mine > -INFINITY ? mine : 0.0f;  // -infinity so far: add zeros, or NaN
      each([&](float& x) { x = math::exp(x - shift); }, q);
      sum += (q.x + q.y) + (q.z + q.w);
    });
    const float top = group_max<THREADS>(mine);
    return {top, group_sum<THREADS>(sum * math::exp(mine - top)) + (top - top)};
  }

  // The group's threads meet, and see what they have written.
  __device__ __forceinline__ static void meet() {
    if constexpr (THREADS > kWarp) {
      __syncthreads();
    } else {
      __syncwarp();
    }
  }
  __device__ __forceinline__ static int rank() { return static_cast<int>(threadIdx.x % THREADS); }

 private:
  const float* row_;
  int width_;
  bool aligned_;
};

// Blocks of this many threads; where the group is a warp, a block has several rows.
template <int THREADS>
constexpr int kRowBlock = THREADS > kWarp ? THREADS : 4 * kWarp;

// The row of this thread's group; at or past the last one there is nothing to do.
template <int THREADS>
__device__ __forceinline__ int64_t row_of_group() {
  return int64_t{blockIdx.x} * (kRowBlock<THREADS> / THREADS) + threadIdx.x / THREADS;
}

template <int THREADS>
Launch launch_rows(int64_t rows) {
  return {.grid = blocks(ceil_div(rows, kRowBlock<THREADS> / THREADS)), .block = kRowBlock<THREADS>};
}

// Calls f.operator()<THREADS>() with the threads that a row of this width gets.
template <class F>
void with_threads(int64_t width, const F& f) {
  if (width <= 1024) return f.template operator()<kWarp>();
  if (width <= 8192) return f.template operator()<256>();
  f.template operator()<1024>();
}

}  // namespace s2s::cuda

// A row in the hands of a group of threads: a warp, or a block where it is wide. Thread t has its quads t,
// t + THREADS, ... Rows up to 32768 elements are read once and Held in registers; longer ones are Streamed:
// read again, from the cache, for each pass. The width alone decides.
#pragma once

#include "cuda/detail/reduce.h"
#include "math/exp.h"

namespace s2s::cuda {

struct TopAndTotal {
  float top;    // the largest element; a NaN is passed over
  float total;  // sum of exp(x - top); NaN where the row holds NaN, or where top is infinite
};

template <int THREADS, int QUADS>
class Held {
 public:
  static constexpr int kThreads = THREADS;

  __device__ __forceinline__ Held(const float* row, int width, bool aligned) : width_(width) {
#pragma unroll
    for (int i = 0; i < QUADS; ++i)
      quads_[i] = load_quad(row + column(i), width - column(i), aligned, -INFINITY);
  }

  // f(column, quad) for each quad of this thread; the elements past the width are -infinity.
  template <class F>
  __device__ __forceinline__ void for_quads(const F& f) {
#pragma unroll
    for (int i = 0; i < QUADS; ++i) {
      if (column(i) < width_) f(column(i), quads_[i]);
    }
  }

  __device__ __forceinline__ TopAndTotal top_and_total() {
    float top = -INFINITY;
    for_quads([&](int, float4 q) { top = fmaxf(top, fmaxf(fmaxf(q.x, q.y), fmaxf(q.z, q.w))); });
    top = group_max<THREADS>(top);
    float sum = 0.0f;
    for_quads([&](int, float4 q) {
      each([&](float& x) { x = math::exp(x - top); }, q);
      sum += (q.x + q.y) + (q.z + q.w);
    });
    return {top, group_sum<THREADS>(sum) + (top - top)};
  }

 private:
  __device__ __forceinline__ static int column(int i) {
    return kQuad * (i * THREADS + static_cast<int>(threadIdx.x % THREADS));
  }
  float4 quads_[QUADS];
  int width_;
};

template <int THREADS>
class Streamed {
 public:
  static constexpr int kThreads = THREADS;

  __device__ __forceinline__ Streamed(const float* row, int width, bool aligned)
      : row_(row), width_(width), aligned_(aligned) {}

  template <class F>
  __device__ __forceinline__ void for_quads(const F& f) {
    for (int c = kQuad * static_cast<int>(threadIdx.x); c < width_; c += kQuad * THREADS) {
      float4 q = load_quad(row_ + c, width_ - c, aligned_, -INFINITY);
      f(c, q);
    }
  }

  // In one pass: each thread's sum is relative to the largest element it has seen so far.
  __device__ __forceinline__ TopAndTotal top_and_total() {
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

 private:
  const float* row_;
  int width_;
  bool aligned_;
};

// Blocks of this many threads; where the group is a warp, a block has several rows.
template <class Row>
constexpr int kRowBlock = Row::kThreads > kWarp ? Row::kThreads : 4 * kWarp;
template <class Row>
constexpr int kRowsOfBlock = kRowBlock<Row> / Row::kThreads;

// The row of this thread's group; at or past the last one there is nothing to do.
template <class Row>
__device__ __forceinline__ int64_t row_of_group() {
  return int64_t{blockIdx.x} * kRowsOfBlock<Row> + threadIdx.x / Row::kThreads;
}
// Its threads meet, and see what they have written.
template <class Row>
__device__ __forceinline__ void meet() {
  if constexpr (Row::kThreads > kWarp) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}
template <class Row>
__device__ __forceinline__ bool first_of_group() {
  return threadIdx.x % Row::kThreads == 0;
}

template <class Row>
Launch launch_rows(int64_t rows) {
  return {.grid = blocks(ceil_div(rows, kRowsOfBlock<Row>)), .block = kRowBlock<Row>};
}

// Calls f.operator()<Row>() with the Row of rows of this width.
template <class F>
void with_row(int64_t width, const F& f) {
  if (width <= 256) return f.template operator()<Held<32, 2>>();
  if (width <= 1024) return f.template operator()<Held<32, 8>>();
  if (width <= 8192) return f.template operator()<Held<256, 8>>();
  if (width <= 32768) return f.template operator()<Held<1024, 8>>();
  f.template operator()<Streamed<1024>>();
}

}  // namespace s2s::cuda

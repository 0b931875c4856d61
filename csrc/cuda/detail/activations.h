// The left operand of a product: rows of floats. Where the weights have fewer bits than 32 and the product
// wants bytes or tensor cores, they are rounded first, each row by one warp: to 16 bits, or to integers in
// units of their own (math/quantize.h).
#pragma once

#include "cuda/detail/layout.h"
#include "cuda/detail/quad.h"
#include "math/half.h"
#include "math/quantize.h"

namespace s2s::cuda {

struct Activations {
  const float* data;  // element k of row m: data[m * row_stride + k * k_stride]
  int64_t row_stride, k_stride;
  int64_t rows;
  int K;
  float least_bound;  // int8: a row is quantised by its largest magnitude, at least this
  bool vectors;       // four neighbours of a row can be loaded at once

  __device__ const float* at(int64_t m, int64_t k) const { return data + m * row_stride + k * k_stride; }
};

// The bound of a row, by a warp: its largest magnitude, at least the least; NaN where an element is NaN or
// infinite.
__device__ inline float row_bound(const Activations& a, int64_t row) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float largest = a.least_bound;
  bool finite = true;
  for (int k = lane; k < a.K; k += kWarp) {
    const float size = math::absolute(*a.at(row, k));
    largest = largest < size ? size : largest;
    finite = finite && size * 0.0f == 0.0f;
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, largest, step);
    largest = largest < other ? other : largest;
  }
  return __all_sync(kAllLanes, finite) ? largest : __uint_as_float(0x7fc00000u);
}

__device__ __forceinline__ int8_t quantized_byte(float x, float inverse) {
  return static_cast<int8_t>(__float_as_int(math::quantized(x, inverse)) - math::kQuantizedZero);
}

__device__ __forceinline__ void round_to(float& to, float x) {
  to = x;
}
__device__ __forceinline__ void round_to(Half& to, float x) {
  to.bits = math::half_bits(x);
}
__device__ __forceinline__ void round_to(BFloat& to, float x) {
  to.bits = math::bfloat_bits(x);
}

constexpr int kRoundThreads = 128;

// rounded [rows, row_pitch<Element>(K)], zero past K; int8: units [rows], what one unit of each stands for.
template <class Element>
__global__ void __launch_bounds__(kRoundThreads) round_rows(Activations a, Element* rounded, float* units) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, pitch = static_cast<int>(row_pitch<Element>(a.K));
  const int64_t row = int64_t{blockIdx.x} * (kRoundThreads / kWarp) + threadIdx.x / kWarp;
  if (row >= a.rows) return;
  Element* to = rounded + row * pitch;
  if constexpr (sizeof(Element) == 1) {
    const float bound = row_bound(a, row), inverse = math::inverse_of(bound);
    for (int k = lane; k < pitch; k += kWarp)
      to[k] = k < a.K && bound > 0.0f ? quantized_byte(*a.at(row, k), inverse) : int8_t{0};
    if (lane == 0) units[row] = bound / 127.0f;
  } else {
    for (int k = lane; k < pitch; k += kWarp) round_to(to[k], k < a.K ? *a.at(row, k) : 0.0f);
  }
}

// Activations as the weights' elements. float32: as they are.
template <class Element>
struct RoundedRows {
  Scratch memory, unit_memory;
  const Element* rows = nullptr;
  const float* units = nullptr;

  explicit RoundedRows(const Activations& a)
      : memory(static_cast<size_t>(a.rows * row_pitch<Element>(a.K)) * sizeof(Element)),
        unit_memory(sizeof(Element) == 1 ? static_cast<size_t>(a.rows) * sizeof(float) : 0),
        rows(memory.as<Element>()),
        units(unit_memory.as<float>()) {
    launch(round_rows<Element>,
           {.grid = blocks(ceil_div(a.rows, kRoundThreads / kWarp)), .block = kRoundThreads}, a,
           memory.as<Element>(), unit_memory.as<float>());
  }
};

}  // namespace s2s::cuda

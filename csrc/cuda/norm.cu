// squared_norm: a block of threads has 4096 elements, and the host adds what the blocks found, in their
// order.
#include <vector>

#include "cuda/detail/elements.h"
#include "cuda/detail/reduce.h"
#include "cuda/runtime.h"
#include "cuda/table.h"
#include "math/scalar.h"
#include "ops/norm.h"

namespace s2s::cuda {
namespace {

constexpr int kNormBlock = 4096;

__global__ void __launch_bounds__(kElementsBlock)
    squared_norm_blocks(const float* x, int64_t count, float* sums, bool aligned) {
  constexpr int kQuads = kNormBlock / kQuad / kElementsBlock;
  const int64_t begin = int64_t{blockIdx.x} * kNormBlock + kQuad * threadIdx.x;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kQuads; ++i) {
    const int64_t at = begin + i * kQuad * kElementsBlock;
    float4 q = load_quad(x + at, count - at, aligned);
    each([&](float& v) { sum = math::fma(v, v, sum); }, q);
  }
  sum = group_sum<kElementsBlock>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kElementsBlock) scale_elements(ScaleArgs x, bool aligned) {
  const int64_t i = flat_place(), left = x.count - i;
  if (left <= 0) return;
  float4 q = load_quad(x.x + i, left, aligned);
  each([&](float& v) { v *= x.factor; }, q);
  store_quad(x.x + i, q, left, aligned);
}

__global__ void __launch_bounds__(kElementsBlock) add_rows(AddArgs x, bool aligned) {
  const auto [r, c] = row_place(x.width);
  const int64_t left = x.width - c;
  if (r >= x.rows || left <= 0) return;
  float* y = x.y + r * x.y_stride + c;
  store_quad(y, load_quad(y, left, aligned) + load_quad(x.x + r * x.x_stride + c, left, aligned), left,
             aligned);
}

}  // namespace

void squared_norm(const SquaredNormArgs& x) {
  const int64_t count = ceil_div(x.count, kNormBlock);
  std::vector<float> sums(static_cast<size_t>(count));
  if (count > 0) {
    const size_t bytes = sums.size() * sizeof(float);
    const Scratch on_device(bytes);
    launch(squared_norm_blocks, {.grid = blocks(count), .block = kElementsBlock}, x.x, x.count,
           on_device.as<float>(), aligned(x.x));
    copy_out(sums.data(), on_device.as<float>(), bytes);
  }
  double total = 0.0;
  for (const float sum : sums) total += double{sum};
  *x.result = total;
}

void scale(const ScaleArgs& x) {
  if (x.count > 0) launch(scale_elements, launch_flat(x.count), x, aligned(x.x));
}

void add(const AddArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.x, x.x_stride) && aligned(x.y, x.y_stride);
  launch(add_rows, launch_rows_of(x.rows, x.width), x, whole);
}

}  // namespace s2s::cuda

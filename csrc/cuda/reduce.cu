// A block has a strip of 128 columns of some rows (detail/strip.h): 128 of them for column_sum, whose blocks'
// sums are then rows to be summed in the same way; those of a segment for segment_mean.
#include <utility>

#include "cuda/detail/strip.h"
#include "cuda/table.h"
#include "math/scalar.h"
#include "ops/reduce.h"

namespace s2s::cuda {
namespace {

constexpr int64_t kRows = 128;

// The sum of rows [begin, end) of x, in warp 0.
__device__ __forceinline__ float4 sum_rows(const float* x, int64_t stride, int64_t begin, int64_t end,
                                           int64_t left, bool aligned) {
  float4 sum[1] = {};
#pragma unroll 4
  for (int64_t r = begin + strip_warp(); r < end; r += kStripWarps)
    sum[0] = sum[0] + load_quad(x + r * stride, left, aligned);
  return together(sum);
}

// Row b of `to`: the sum of rows b kRows .. of x; added to what is there where ADD.
template <bool ADD>
__global__ void __launch_bounds__(kStripBlock)
    sum_row_blocks(int64_t rows, int64_t width, const float* x, int64_t stride, float* to, bool aligned) {
  const int64_t begin = blockIdx.x * kRows, c = strip_column(), left = width - c;
  const float4 sum = sum_rows(x + c, stride, begin, min(begin + kRows, rows), left, aligned);
  if (strip_warp() != 0) return;
  to += blockIdx.x * width + c;
  store_quad(to, ADD ? load_quad(to, left, aligned) + sum : sum, left, aligned);
}

__global__ void __launch_bounds__(kStripBlock) mean_segments(SegmentMeanArgs x, bool aligned) {
  const int64_t n = blockIdx.x, c = strip_column(), left = x.width - c;
  const int64_t begin = x.offsets[n], end = x.offsets[n + 1];
  float4 sum = sum_rows(x.x + c, x.width, begin, end, left, aligned);
  if (strip_warp() != 0) return;
  const float factor = 1.0f / static_cast<float>(end - begin);
  each([&](float& v) { v *= factor; }, sum);
  store_quad(x.out + n * x.width + c, sum, left, aligned);
}

__global__ void __launch_bounds__(kStripBlock) mean_segments_backward(SegmentMeanArgs x, bool aligned) {
  const int64_t n = blockIdx.x, c = strip_column(), left = x.width - c;
  const int64_t begin = x.offsets[n], end = x.offsets[n + 1];
  const float factor = 1.0f / static_cast<float>(end - begin);
  float4 d = load_quad(x.out + n * x.width + c, left, aligned);
  for (int64_t r = begin + strip_warp(); r < end; r += kStripWarps) {
    float* to = x.x + r * x.width + c;
    float4 q = load_quad(to, left, aligned);
    each([&](float& v, float& dv) { v = math::fma(dv, factor, v); }, q, d);
    store_quad(to, q, left, aligned);
  }
}

}  // namespace

void column_sum(const ColumnSumArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const float* from = x.x;
  int64_t rows = x.rows, stride = x.x_stride;
  Scratch sums;
  const auto sum = [&](auto kernel, int64_t count, float* to) {
    launch(kernel, {.grid = strips(count, x.width), .block = kStripBlock}, rows, x.width, from, stride, to,
           aligned(from, stride) && aligned(to, x.width));
  };
  while (rows > kRows) {
    const int64_t count = ceil_div(rows, kRows);
    Scratch to(static_cast<size_t>(count * x.width) * sizeof(float));
    sum(sum_row_blocks<false>, count, to.as<float>());
    from = to.as<float>();
    rows = count;
    stride = x.width;
    sums = std::move(to);
  }
  sum(sum_row_blocks<true>, 1, x.out);
}

void segment_mean(const SegmentMeanArgs& x) {
  if (x.segments == 0 || x.width == 0) return;
  launch(mean_segments, {.grid = strips(x.segments, x.width), .block = kStripBlock}, x,
         aligned(x.x, x.width) && aligned(x.out));
}

void segment_mean_backward(const SegmentMeanArgs& x) {
  if (x.segments == 0 || x.width == 0) return;
  launch(mean_segments_backward, {.grid = strips(x.segments, x.width), .block = kStripBlock}, x,
         aligned(x.x, x.width) && aligned(x.out));
}

}  // namespace s2s::cuda

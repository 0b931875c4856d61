// A block has a row, each of its warps a part of it. The parts' sums say where the number lies, and the warp
// of that part walks it, 32 columns at a time.
#include "cuda/detail/reduce.h"
#include "cuda/table.h"
#include "math/exp.h"
#include "ops/sample.h"

namespace s2s::cuda {
namespace {

constexpr int kSampleBlock = 256, kSampleWarps = kSampleBlock / kWarp;

// The sum of this lane and all before it.
__device__ __forceinline__ float sum_up_to(float x) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int d = 1; d < kWarp; d *= 2) {
    const float other = __shfl_up_sync(kAllLanes, x, d);
    if (lane >= d) x += other;
  }
  return x;
}

__global__ void __launch_bounds__(kSampleBlock) sample_rows(SampleArgs x) {
  const int64_t r = blockIdx.x;
  const float* row = x.x + r * x.width;
  const int width = static_cast<int>(x.width), part = (width + kSampleWarps - 1) / kSampleWarps;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int begin = min(warp * part, width), end = min(begin + part, width);
  float top = -INFINITY, sum = 0.0f;
  for (int c = begin + lane; c < end; c += kWarp) top = fmaxf(top, row[c]);
  top = group_max<kSampleBlock>(top);
  for (int c = begin + lane; c < end; c += kWarp) sum += math::exp(row[c] - top);
  sum = group_sum<kWarp>(sum);

  S2S_SHARED(float[kSampleWarps], sums);
  if (lane == 0) sums[warp] = sum;
  __syncthreads();
  float total = 0.0f, before = 0.0f;
  for (int w = 0; w < kSampleWarps; ++w) total += sums[w];
  if (total != total) return;
  const float goal = x.u[r] * total;
  int chosen = 0;  // before + sums up to the last part is total, which u < 1 times it is always below
  for (; chosen + 1 < kSampleWarps && !(before + sums[chosen] > goal); ++chosen) before += sums[chosen];
  if (warp != chosen) return;

  int found = begin;  // the last with any probability, where rounding leaves the goal out of reach
  for (int c = begin; c < end; c += kWarp) {
    const float e = c + lane < end ? math::exp(row[c + lane] - top) : 0.0f;
    const float here = before + sum_up_to(e);
    const unsigned possible = __ballot_sync(kAllLanes, e > 0.0f);
    const unsigned reached = __ballot_sync(kAllLanes, e > 0.0f && here > goal);
    if (possible != 0) found = c + (kWarp - 1 - __clz(static_cast<int>(possible)));
    if (reached != 0) {
      found = c + __ffs(static_cast<int>(reached)) - 1;
      break;
    }
    before = __shfl_sync(kAllLanes, here, kWarp - 1);
  }
  if (lane == 0) x.ids[x.index[r]] = found;
}

}  // namespace

void sample(const SampleArgs& x) {
  if (x.rows == 0) return;
  launch(sample_rows, {.grid = blocks(x.rows), .block = kSampleBlock}, x);
}

}  // namespace s2s::cuda

// A warp has a row, a block a wide one (detail/row.h). The best are taken one by one: each thread offers the
// best of its own elements that come after the last one taken, and who loses its offer looks for the next.
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "math/softmax.h"
#include "ops/topk.h"

namespace s2s::cuda {
namespace {

struct Entry {
  float value;
  int index;
};
__device__ __forceinline__ bool before(Entry a, Entry b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}
__device__ __forceinline__ Entry warp_first(Entry e) {
#pragma unroll
  for (int d = kWarp / 2; d > 0; d /= 2) {
    const Entry other = {__shfl_xor_sync(kAllLanes, e.value, d), __shfl_xor_sync(kAllLanes, e.index, d)};
    if (before(other, e)) e = other;
  }
  return e;
}

// What comes before every element of a row, infinities included, and what comes after.
__device__ __forceinline__ Entry beginning() {
  return {INFINITY, -1};
}
__device__ __forceinline__ Entry end() {
  return {-INFINITY, INT32_MAX};
}

// The first of the group's entries. Calls in turn use `turn` 0 and 1, so that one barrier each is enough.
template <int THREADS>
__device__ __forceinline__ Entry group_first(Entry e, int turn) {
  e = warp_first(e);
  if constexpr (THREADS > kWarp) {
    S2S_SHARED(Entry[2][kWarp], of_warp);
    const int lane = threadIdx.x % kWarp;
    if (lane == 0) of_warp[turn][threadIdx.x / kWarp] = e;
    __syncthreads();
    e = warp_first(lane < THREADS / kWarp ? of_warp[turn][lane] : end());
  }
  return e;
}

// The first of this thread's elements that come after `last`.
template <int THREADS>
__device__ __forceinline__ Entry next_after(const Row<THREADS>& row, Entry last) {
  Entry first = end();
  row.for_quads([&](int c, float4 q) {
    each(
        [&](float& x) {
          const Entry e = {x, c++};
          if (e.index < row.width() && before(last, e) && before(e, first)) first = e;
        },
        q);
  });
  return first;
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>) topk_rows(TopkArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const int k = static_cast<int>(x.k);
  const Row<THREADS> row(x.x + r * x.width, x.width, aligned);
  float* values = x.values + r * x.k;
  int32_t* indices = x.indices + r * x.k;

  float top = 0.0f, log_total = 0.0f;
  bool nan = false;
  if (x.log_softmax) {
    const TopAndTotal t = row.top_and_total();
    top = t.top;
    log_total = math::log(t.total);
    nan = t.total != t.total;
  } else {
    row.for_quads([&](int, float4 q) { each([&](float& v) { nan |= v != v; }, q); });
    nan = group_any<THREADS>(nan);
  }
  if (nan) {
    for (int i = row.rank(); i < k; i += THREADS) {
      values[i] = NAN;
      indices[i] = -1;
    }
    return;
  }
  Entry taken = beginning(), offer = taken;
  for (int i = 0; i < k; ++i) {
    if (offer.index == taken.index) offer = next_after(row, taken);
    taken = group_first<THREADS>(offer, i % 2);
    if (offer.index == taken.index) {  // one thread's: the offers differ
      values[i] = x.log_softmax ? math::log_softmax(taken.value, top, log_total) : taken.value;
      indices[i] = taken.index;
    }
  }
}

}  // namespace

void topk(const TopkArgs& x) {
  if (x.rows == 0) return;
  with_threads(x.width, [&]<int THREADS>() {
    launch(topk_rows<THREADS>, launch_rows<THREADS>(x.rows), x, aligned(x.x, x.width));
  });
}

}  // namespace s2s::cuda

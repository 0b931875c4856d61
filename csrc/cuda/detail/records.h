// What is kept of the logits of a projection: per row and 64 columns the largest and the sum of exp(logit -
// largest), and the best of a range of columns, in keys that a single comparison orders: the larger logit
// first, then the lower column.
#pragma once

#include "cuda/detail/reduce.h"
#include "math/exp.h"

namespace s2s::cuda {

constexpr int kRecordColumns = 64;  // part of a sum's order
constexpr int kMergedBest = 32;     // of more than that a range is 64 columns, so that lists need no merging

using Key = unsigned long long;  // 0: nothing
__device__ __forceinline__ unsigned ordered(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);  // -0 is 0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ Key key_of(float logit, int64_t column) {
  return Key{ordered(logit)} << 32 | (0xffffffffu - static_cast<unsigned>(column));
}
__device__ __forceinline__ float logit_of(Key key) {
  const unsigned bits = static_cast<unsigned>(key >> 32);
  return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}
__device__ __forceinline__ int32_t column_of(Key key) {
  return static_cast<int32_t>(0xffffffffu - static_cast<unsigned>(key));
}

__device__ __forceinline__ Key warp_max(Key key) {
  const unsigned high = __reduce_max_sync(kAllLanes, static_cast<unsigned>(key >> 32));
  const unsigned low = __reduce_max_sync(kAllLanes, key >> 32 == high ? static_cast<unsigned>(key) : 0u);
  return Key{high} << 32 | low;
}

struct Records {
  int64_t tiles, ranges;  // of 64 columns; of tiles
  int64_t range_tiles;    // the last range may have fewer
  int length;             // of a list
  float* largest;         // [rows, tiles]
  float* sums;            // [rows, tiles]
  Key* lists;             // [rows, ranges, length] descending, 0 past the range's columns

  __device__ Key* list(int64_t row, int64_t range) const { return lists + (row * ranges + range) * length; }
};

// A warp puts the keys that enter a list, of which it has two a lane, into it: few do, after the first tile.
__device__ inline void insert_into(Key* list, int length, const Key (&key)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Key kept = lane < length ? list[lane] : 0;
  const Key last = __shfl_sync(kAllLanes, kept, length - 1);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    for (unsigned some = __ballot_sync(kAllLanes, key[i] > last); some; some &= some - 1) {
      const Key enters = __shfl_sync(kAllLanes, key[i], __ffs(static_cast<int>(some)) - 1);
      const int place = __popc(__ballot_sync(kAllLanes, kept > enters));
      const Key above = __shfl_up_sync(kAllLanes, kept, 1);
      if (lane >= place) kept = lane == place ? enters : above;
    }
  }
  if (lane < length) list[lane] = kept;
}

// A warp adds one row's `width` logits, the first of column `first`, to its range's list; `fresh`: there is
// nothing in it. A list with more than 32 keys is always fresh.
__device__ inline void merge_into(Key* list, int length, bool fresh, const float* logits, int width,
                                  int64_t first) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Key key[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int c = lane + 32 * i;
    key[i] = c < width ? key_of(logits[c], first + c) : 0;
  }
  Key kept = 0;
  for (int i = 0; fresh && i < length; ++i) {
    const Key best = warp_max(max(key[0], key[1]));
#pragma unroll
    for (Key& k : key) k = k == best ? 0 : k;
    if (lane == i % 32) kept = best;
    if (i % 32 == 31 || i + 1 == length) {
      if (lane <= i % 32) list[i / 32 * 32 + lane] = kept;
    }
  }
  if (!fresh) insert_into(list, length, key);
  __syncwarp();
}

// Where a block keeps the lists of its rows while it walks over a range.
struct Lists {
  Key* first;
  int64_t stride;  // from one row's to the next

  __device__ __forceinline__ Key* of(int row) const { return first + row * stride; }
};

// In the records themselves.
__device__ __forceinline__ Lists lists_of(const Records& records, int64_t first_row, int64_t tile) {
  return {records.list(first_row, tile / records.range_tiles), records.ranges * records.length};
}

// A block's tile of logits, rows `pitch` apart (pitch % 32 == 16: no two lanes meet in a bank), of which
// `rows` by `width` are there -> its records. first_row, tile: where it lies in the product. A warp takes
// GROUP rows, four lanes each; the order of a sum is the same whatever GROUP is. A function of its own:
// beside a tile's sums its registers would not be enough.
template <int GROUP>
[[gnu::noinline]] __device__ void record_tile(const float* logits, int pitch, int rows, int width,
                                              int64_t first_row, int64_t tile, Records records, Lists lists) {
  const int lane = static_cast<int>(threadIdx.x) % 32, member = lane / 4, part = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  const bool fresh = tile % records.range_tiles == 0;
#pragma unroll 1
  for (int base = warp * GROUP; base < rows; base += warps * GROUP) {
    const bool there = member < GROUP && base + member < rows;
    const float* row = logits + (there ? base + member : base) * pitch;
    float x[16];
    float top = -INFINITY;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 four = reinterpret_cast<const float4*>(row)[part + 4 * i];
      x[4 * i] = four.x, x[4 * i + 1] = four.y, x[4 * i + 2] = four.z, x[4 * i + 3] = four.w;
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (4 * part + i / 4 * 16 + i % 4 >= width) x[i] = -INFINITY;
      top = fmaxf(top, x[i]);  // passes over NaN, which the sum does not
    }
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
    const float shift = top == -INFINITY ? 0.0f : top;  // nothing but -infinity adds nothing
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 16; ++i) sum += math::exp(x[i] - shift);
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    bool enters = false;
    if (there && part == 0) {
      const int64_t at = first_row + base + member;
      records.largest[at * records.tiles + tile] = top;
      records.sums[at * records.tiles + tile] = sum;
      const Key last = fresh ? 0 : lists.of(base + member)[records.length - 1];
      enters = last == 0 || ordered(top) > last >> 32;
    }
    for (unsigned some = __ballot_sync(kAllLanes, enters); some; some &= some - 1) {
      const int r = base + (__ffs(static_cast<int>(some)) - 1) / 4;
      merge_into(lists.of(r), records.length, fresh, logits + r * pitch, width, tile * kRecordColumns);
    }
  }
}

constexpr int kMergeThreads = 256;

// Each row's records -> the result, by a block. heads [rows, ranges]: scratch.
__global__ void __launch_bounds__(kMergeThreads, 4)
    merge_records(Records records, int* heads, int best, float* values, int32_t* indices) {
  simt::wait_for_earlier();
  S2S_SHARED(Key[2][kMergeThreads / 32], of_warp);
  const int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  values += row * best, indices += row * best;

  const bool single = records.ranges <= kMergeThreads, has_range = single && thread < records.ranges;
  const Key* own = records.list(row, has_range ? thread : 0);
  Key offer = has_range ? own[0] : 0, next = has_range && records.length > 1 ? own[1] : 0;
  int at = 1;  // next's place

  const float* largest = records.largest + row * records.tiles;
  const float* sums = records.sums + row * records.tiles;
  float top = -INFINITY, total = 0.0f;
  for (int64_t i = thread; i < records.tiles; i += kMergeThreads) top = fmaxf(top, largest[i]);
  top = group_max<kMergeThreads>(top);
  for (int64_t i = thread; i < records.tiles; i += kMergeThreads)
    total = math::fma(math::exp(largest[i] - top), sums[i], total);
  total = group_sum<kMergeThreads>(total);
  if (!(total > 0.0f)) {  // NaN, or nothing but -infinity: else one term at least is 1
    for (int i = thread; i < best; i += kMergeThreads) values[i] = NAN, indices[i] = -1;
    return;
  }
  const float log_total = math::log(total);

  // Each thread offers the best of its own ranges; whose offer is taken looks for the next. With a range
  // each, it has that one already.
  heads += row * records.ranges;
  for (int64_t i = thread; !single && i < records.ranges; i += kMergeThreads) heads[i] = 0;
  Key taken = 0;
  int64_t from = -1;
  for (int i = 0; i < best; ++i) {
    if (single && i > 0 && offer == taken) {
      offer = next;
      next = ++at < records.length ? own[at] : 0;
    } else if (!single && offer == taken) {
      if (from >= 0) ++heads[from];
      offer = 0;
      for (int64_t r = thread; r < records.ranges; r += kMergeThreads) {
        const Key key = heads[r] < records.length ? records.list(row, r)[heads[r]] : 0;
        if (key > offer) offer = key, from = r;
      }
    }
    taken = warp_max(offer);
    if (thread % 32 == 0) of_warp[i % 2][thread / 32] = taken;
    __syncthreads();
    taken = warp_max(of_warp[i % 2][thread % (kMergeThreads / 32)]);
    if (thread == 0) {
      values[i] = (logit_of(taken) - top) - log_total;
      indices[i] = column_of(taken);
    }
  }
}

}  // namespace s2s::cuda

// The places of one id in an array of ids, found by a whole block of THREADS, in their order. It looks at
// kLook of them between two barriers.
#pragma once

#include "cuda/detail/quad.h"

namespace s2s::cuda {

constexpr int kLooks = 8;  // of each thread
template <int THREADS>
constexpr int kLook = kLooks * THREADS;

// Whether ids[0 .. end) hold `id`. The nearest are looked at first: of a frequent id one is soon found.
template <int THREADS>
__device__ __forceinline__ bool appears_before(const int32_t* ids, int64_t end, int32_t id) {
  for (; end > 0; end -= kLook<THREADS>) {
    bool found = false;
#pragma unroll
    for (int i = 0; i < kLooks; ++i) {
      const int64_t at = end - 1 - i * THREADS - static_cast<int>(threadIdx.x);
      found |= at >= 0 && ids[at] == id;
    }
    if (__syncthreads_or(found)) return true;
  }
  return false;
}

// Walks over ids[begin .. end): each call of next() goes on to the next stretch that holds the id.
template <int THREADS>
class Matches {
 public:
  __device__ __forceinline__ Matches(const int32_t* ids, int64_t begin, int64_t end, int32_t id)
      : ids_(ids), at_(begin), end_(end), id_(id) {}

  // Fills `found`, in shared memory, with the places in one stretch and returns how many there are; 0: no
  // more.
  __device__ __forceinline__ int next(int (&found)[kLook<THREADS>]) {
    constexpr int kWarps = THREADS / kWarp;
    S2S_SHARED(int[kLooks * kWarps], counts);  // by the order of the ids: looks, then warps
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    for (; at_ < end_; at_ += kLook<THREADS>) {
      unsigned matches[kLooks];  // of this warp's lanes
      unsigned any = 0;
#pragma unroll
      for (int i = 0; i < kLooks; ++i) {
        const int64_t at = at_ + i * THREADS + static_cast<int>(threadIdx.x);
        matches[i] = __ballot_sync(kAllLanes, at < end_ && ids_[at] == id_);
        any |= matches[i];
      }
      if (!__syncthreads_or(any != 0)) continue;
#pragma unroll
      for (int i = 0; i < kLooks; ++i) {
        if (lane == i) counts[i * kWarps + warp] = __popc(matches[i]);
      }
      __syncthreads();
      int total = 0;
#pragma unroll
      for (int i = 0; i < kLooks; ++i) {
        for (int w = 0; w < kWarps; ++w) {
          if (w == warp && (matches[i] >> lane & 1u)) {
            found[total + __popc(matches[i] & ((1u << lane) - 1u))] =
                static_cast<int>(at_) + i * THREADS + static_cast<int>(threadIdx.x);
          }
          total += counts[i * kWarps + w];
        }
      }
      at_ += kLook<THREADS>;
      __syncthreads();
      return total;
    }
    return 0;
  }

 private:
  const int32_t* ids_;
  int64_t at_, end_;
  int32_t id_;
};

}  // namespace s2s::cuda

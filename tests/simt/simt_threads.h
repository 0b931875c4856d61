// Threads, blocks and their shared memory: what a kernel's source sees of the scheduler (emulator.cpp).
#pragma once

#include <type_traits>

#include "simt_types.h"

// The running thread's. The scheduler sets them whenever it goes from one thread to another.
#define S2S_SIMT_LOCAL __attribute__((visibility("hidden")))
extern S2S_SIMT_LOCAL uint3 threadIdx, blockIdx;
extern S2S_SIMT_LOCAL dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace simt {

extern S2S_SIMT_LOCAL int lane;  // of the running thread in its warp

// Where a kernel's source called, for messages.
struct Place {
  const char* file;
  int line;
  const char* what;
};
#define S2S_SIMT_HERE const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define S2S_SIMT_PLACE(what) \
  ::simt::Place {            \
    file_, line_, what       \
  }

// Ends the launch with a sentence: what went wrong, where, in which thread.
[[noreturn]] void fail(Place place, const char* sentence);

enum class Group { block, cluster, grid };
enum class Vote { count, all, any };
// Returns the group's vote on `value`.
int barrier(Group group, Place place, int value = 0, Vote vote = Vote::count);
// The two halves of a barrier: a thread may work between them.
void barrier_arrive(Group group, Place place);
void barrier_wait(Group group, Place place);

// A point where another thread may run first, as it may at any point on a device.
void yield(Place place);
// A yield of a thread that waits for a change by another. When all threads only look, the launch has failed.
void spin(Place place);
// Says that something changed that a spinning thread may wait for.
void changed();

// __threadfence(): to ThreadSanitizer every fence is ordered after all earlier ones.
void fence(Place place);

// The calling block's variable declared at `declaration`, filled with NaN (0xff) before its first use.
void* shared_variable(const void* declaration, size_t bytes, size_t alignment);
void* dynamic_shared();
// Where block `rank` of the cluster keeps what p points to in the calling block.
void* shared_of_rank(const void* p, unsigned rank, Place place);
unsigned cluster_rank();
unsigned cluster_size();

}  // namespace simt

#define S2S_SHARED(type_, name)                                                    \
  static constexpr char s2s_shared_##name = 0;                                     \
  auto& name = *static_cast<std::type_identity_t<type_>*>(::simt::shared_variable( \
      &s2s_shared_##name, sizeof(std::type_identity_t<type_>), alignof(std::type_identity_t<type_>)))
#define S2S_DYNAMIC_SHARED(type_, name) type_* const name = static_cast<type_*>(::simt::dynamic_shared())

inline void __syncthreads(S2S_SIMT_HERE) {
  simt::barrier(simt::Group::block, S2S_SIMT_PLACE("__syncthreads"));
}
inline int __syncthreads_count(int value, S2S_SIMT_HERE) {
  return simt::barrier(simt::Group::block, S2S_SIMT_PLACE("__syncthreads_count"), value != 0,
                       simt::Vote::count);
}
inline int __syncthreads_and(int value, S2S_SIMT_HERE) {
  return simt::barrier(simt::Group::block, S2S_SIMT_PLACE("__syncthreads_and"), value != 0, simt::Vote::all);
}
inline int __syncthreads_or(int value, S2S_SIMT_HERE) {
  return simt::barrier(simt::Group::block, S2S_SIMT_PLACE("__syncthreads_or"), value != 0, simt::Vote::any);
}
inline void __threadfence(S2S_SIMT_HERE) {
  simt::fence(S2S_SIMT_PLACE("__threadfence"));
}
inline void __threadfence_block(S2S_SIMT_HERE) {
  simt::fence(S2S_SIMT_PLACE("__threadfence_block"));
}
inline void __nanosleep(unsigned, S2S_SIMT_HERE) {
  simt::spin(S2S_SIMT_PLACE("__nanosleep"));
}

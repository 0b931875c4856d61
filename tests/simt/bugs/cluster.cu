// Mistakes in a cluster, whose blocks reach into each other's shared memory.
#include "bugs.h"

namespace s2s::cuda {
namespace {

namespace cg = cooperative_groups;

enum class Ring { right, block_barrier, beyond, no_wait };

// Every block tells the next one its rank: one writes into the other's memory, then all read their own.
template <Ring R>
__global__ void __launch_bounds__(32) tell_next(int* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  const cg::cluster_group cluster = cg::this_cluster();
  S2S_SHARED(int[32], mail);
  const unsigned rank = cluster.block_rank(), blocks = cluster.num_blocks();
  const unsigned next = R == Ring::beyond ? rank + 1 : (rank + 1) % blocks;
  mail[threadIdx.x] = -1;
  cluster.sync();
  cluster.map_shared_rank(mail, next)[threadIdx.x] = static_cast<int>(rank);
  if (R == Ring::block_barrier) {
    __syncthreads();
  } else {
    cluster.barrier_arrive();
    if (R != Ring::no_wait) cluster.barrier_wait();
  }
  out[blockIdx.x * 32 + threadIdx.x] = mail[threadIdx.x];
  if (R == Ring::no_wait) cluster.barrier_wait();
#endif
}
template <Ring R>
std::string ring() {
  const DeviceArray<int> out(8 * 32);
  launch(tell_next<R>, {.grid = 8, .block = 32, .cluster = 4}, out.data());
  std::vector<int> want(8 * 32);
  for (int i = 0; i < 8 * 32; ++i) want[i] = (i / 32 + 3) % 4;
  return expect(out.get(), want);
}

// Every block reads from the next one, which must still be there.
template <bool BUG>
__global__ void __launch_bounds__(32) ask_next(int* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  const cg::cluster_group cluster = cg::this_cluster();
  S2S_DYNAMIC_SHARED(int, value);
  value[threadIdx.x] = static_cast<int>(cluster.block_rank());
  cluster.sync();
  const int* next = cluster.map_shared_rank(value, (cluster.block_rank() + 1) % cluster.num_blocks());
  out[blockIdx.x * 32 + threadIdx.x] = next[threadIdx.x];
  if (!BUG) cluster.sync();
#endif
}
template <bool BUG>
std::string leaves_while_others_read() {
  const DeviceArray<int> out(4 * 32);
  launch(ask_next<BUG>, {.grid = 4, .block = 32, .shared = 128, .cluster = 4}, out.data());
  std::vector<int> want(4 * 32);
  for (int i = 0; i < 4 * 32; ++i) want[i] = (i / 32 + 1) % 4;
  return expect(out.get(), want);
}

// The same by counted stores, which need no barrier but the first and the last.
enum class Counted { right, no_wait, wrong_phase, too_many };
template <Counted C>
__global__ void __launch_bounds__(32) tell_next_counted(int* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  const cg::cluster_group cluster = cg::this_cluster();
  S2S_SHARED(uint32_t[32], mail);
  S2S_SHARED(simt::Arrival[1], arrival);
  const unsigned rank = cluster.block_rank(), next = (rank + 1) % cluster.num_blocks();
  if (threadIdx.x == 0) simt::arrival_start(arrival);
  cluster.sync();
  if (threadIdx.x == 0) simt::arrival_expect(arrival, C == Counted::too_many ? 33 * 4 : 32 * 4);
  simt::store_async(&mail[threadIdx.x], rank, arrival, next);
  if (C != Counted::no_wait) simt::arrival_wait(arrival, C == Counted::wrong_phase ? 1 : 0);
  out[blockIdx.x * 32 + threadIdx.x] = static_cast<int>(mail[threadIdx.x]);
  cluster.sync();
#endif
}
template <Counted C>
std::string counted() {
  const DeviceArray<int> out(8 * 32);
  launch(tell_next_counted<C>, {.grid = 8, .block = 32, .cluster = 4}, out.data());
  std::vector<int> want(8 * 32);
  for (int i = 0; i < 8 * 32; ++i) want[i] = (i / 32 + 3) % 4;
  return expect(out.get(), want);
}

}  // namespace

const std::vector<Case> cluster_cases = {
    {"block_barrier_for_cluster", ring<Ring::right>, ring<Ring::block_barrier>},
    {"rank_beyond_the_cluster", ring<Ring::right>, ring<Ring::beyond>},
    {"arrived_but_not_waited", ring<Ring::right>, ring<Ring::no_wait>},
    {"counted_stores_not_waited_for", counted<Counted::right>, counted<Counted::no_wait>},
    {"counted_stores_of_another_phase", counted<Counted::right>, counted<Counted::wrong_phase>},
    {"more_bytes_expected_than_come", counted<Counted::right>, counted<Counted::too_many>},
    {"leaves_while_others_read", leaves_while_others_read<false>, leaves_while_others_read<true>},
};

}  // namespace s2s::cuda

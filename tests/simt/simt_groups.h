// Cooperative groups: the block, the cluster, the grid.
#pragma once

#include "simt_threads.h"

namespace cooperative_groups {

struct thread_block {
  void sync(S2S_SIMT_HERE) const { simt::barrier(simt::Group::block, S2S_SIMT_PLACE("block.sync")); }
  static unsigned thread_rank() {
    return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  }
  static unsigned size() { return blockDim.x * blockDim.y * blockDim.z; }
};

struct cluster_group {
  void sync(S2S_SIMT_HERE) const { simt::barrier(simt::Group::cluster, S2S_SIMT_PLACE("cluster.sync")); }
  void barrier_arrive(S2S_SIMT_HERE) const {
    simt::barrier_arrive(simt::Group::cluster, S2S_SIMT_PLACE("cluster.barrier_arrive"));
  }
  void barrier_wait(S2S_SIMT_HERE) const {
    simt::barrier_wait(simt::Group::cluster, S2S_SIMT_PLACE("cluster.barrier_wait"));
  }
  static unsigned block_rank() { return simt::cluster_rank(); }
  static unsigned num_blocks() { return simt::cluster_size(); }
  static unsigned thread_rank() { return block_rank() * thread_block::size() + thread_block::thread_rank(); }
  static unsigned num_threads() { return num_blocks() * thread_block::size(); }
  template <class T>
  T* map_shared_rank(T* p, unsigned rank, S2S_SIMT_HERE) const {
    return static_cast<T*>(simt::shared_of_rank(p, rank, S2S_SIMT_PLACE("map_shared_rank")));
  }
};

struct grid_group {
  void sync(S2S_SIMT_HERE) const { simt::barrier(simt::Group::grid, S2S_SIMT_PLACE("grid.sync")); }
  static bool is_valid() { return true; }
  static unsigned long long num_blocks() { return 1ull * gridDim.x * gridDim.y * gridDim.z; }
  static unsigned long long block_rank() {
    return blockIdx.x + 1ull * gridDim.x * (blockIdx.y + 1ull * gridDim.y * blockIdx.z);
  }
  static unsigned long long num_threads() { return num_blocks() * thread_block::size(); }
  static unsigned long long size() { return num_threads(); }
  static unsigned long long thread_rank() {
    return block_rank() * thread_block::size() + thread_block::thread_rank();
  }
};

inline thread_block this_thread_block() {
  return {};
}
inline cluster_group this_cluster() {
  return {};
}
inline grid_group this_grid() {
  return {};
}

}  // namespace cooperative_groups

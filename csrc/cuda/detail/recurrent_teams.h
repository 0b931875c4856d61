// Teams: the blocks that share one copy of the weights and hand operands to each other, phase after phase.
// Both kinds have two halves of a barrier: arrive() when this block's operands of the next phase are handed
// over, wait() before those of the others are read; between them a block may load what it needs besides.
#pragma once

#include "cuda/detail/recurrent_operands.h"
#include "cuda/detail/recurrent_weights.h"

namespace s2s::cuda {

template <class T>
struct TeamOperands {
  const T* initial;  // [N, pitch[0]] of sequences that begin
  T* slot[2];        // [N, pitch[.]] of a grid
  int pitch[2];      // a multiple of 16 bytes
};

struct TeamShape {
  int blocks;  // of a team
  int teams;   // that share the batch, each with every `teams`th sequence
  int rows;    // of a team's sequences
  int tile;    // sequences multiplied at once, at most kTileRows
};

// Copies `rows` rows of 16-byte words, by the whole block.
template <class T, class From>
__device__ __forceinline__ void copy_rows(T* to, int to_pitch, int rows, int width, const From& from) {
  const int words = width * static_cast<int>(sizeof(T)) / kLoadBytes;
  for (int e = static_cast<int>(threadIdx.x); e < rows * words; e += static_cast<int>(blockDim.x)) {
    const int r = e / words, w = e % words;
    reinterpret_cast<uint4*>(to + int64_t{r} * to_pitch)[w] =
        __ldcg(reinterpret_cast<const uint4*>(from(r)) + w);
  }
}

// Any blocks that are on the device at once. Operands go through global memory; each block raises a flag of
// its own and watches all.
template <class Cell>
struct GridTeam {
  using T = TeamOperand<typename Cell::Element>;
  static constexpr bool kCluster = false;

  const TeamOperands<T>& operands;
  const TeamShape& shape;
  Part part;
  int rank;
  unsigned* flags;  // [blocks], 0 at first
  T* tile;          // shared: the operands of one tile
  unsigned generation = 0;

  __device__ GridTeam(const TeamOperands<T>& all, const TeamShape& of, unsigned* all_flags,
                      T* const (&shared)[2])
      : operands(all),
        shape(of),
        part{static_cast<int>(blockIdx.x) / of.blocks, of.teams},
        rank(static_cast<int>(blockIdx.x) % of.blocks),
        flags(all_flags + part.index * of.blocks),
        tile(shared[0]) {}

  __device__ void begin() {}
  __device__ void arrive() {
    ++generation;
    __syncthreads();
    if (threadIdx.x == 0) simt::store_release(flags + rank, generation);
  }
  __device__ void wait() {
    for (int b = static_cast<int>(threadIdx.x); b < shape.blocks; b += static_cast<int>(blockDim.x)) {
      while (simt::load_acquire(flags + b) < generation) simt::backoff();
    }
    __syncthreads();
  }
  __device__ void end() {}

  __device__ __forceinline__ T* slot(int s) const { return s ? operands.slot[1] : operands.slot[0]; }
  __device__ __forceinline__ int pitch(int s) const { return s ? operands.pitch[1] : operands.pitch[0]; }

  // The operands of the local sequences [first, first + rows); INITIAL: of those that begin, from h0.
  template <bool INITIAL>
  __device__ const T* rows(const Step& step, int s, int first, int rows) {
    const int width = pitch(s);
    copy_rows(tile, width, rows, width, [&](int r) {
      const int i = part.sequence(first + r);
      return (INITIAL && i >= step.before ? operands.initial : slot(s)) + int64_t{i} * pitch(s);
    });
    __syncthreads();
    return tile;
  }
  __device__ __forceinline__ void put(int s, int local, int column, T value) const {
    slot(s)[int64_t{part.sequence(local)} * pitch(s) + column] = value;
  }
};

// A thread-block cluster (from sm_90). Every block keeps all operands of the team's sequences in its shared
// memory, and writes what it has computed into that of every other.
template <class Cell>
struct ClusterTeam {
  using T = TeamOperand<typename Cell::Element>;
  static constexpr bool kCluster = true;

  const TeamOperands<T>& operands;
  const TeamShape& shape;
  Part part;
  int rank;
  T* even;  // slot 0, shared: [shape.rows, pitch[0]]
  T* odd;   // slot 1
  bool arrived = false;

  __device__ ClusterTeam(const TeamOperands<T>& all, const TeamShape& of, unsigned*, T* const (&shared)[2])
      : operands(all),
        shape(of),
        part{static_cast<int>(blockIdx.x) / of.blocks, of.teams},
        rank(static_cast<int>(blockIdx.x) % of.blocks),
        even(shared[0]),
        odd(shared[1]) {}

  __device__ __forceinline__ T* slot(int s) const { return s ? odd : even; }
  __device__ __forceinline__ int pitch(int s) const { return s ? operands.pitch[1] : operands.pitch[0]; }

  // Padding is zero; and nobody writes to a block that has not begun.
  __device__ void begin() {
    for (int s = 0; s < 2; ++s) {
      for (int e = static_cast<int>(threadIdx.x); e < shape.rows * pitch(s);
           e += static_cast<int>(blockDim.x))
        slot(s)[e] = T{};
    }
    arrive();
  }
  __device__ void arrive() {
    cooperative_groups::this_cluster().barrier_arrive();
    arrived = true;
  }
  __device__ void wait() {
    if (arrived) cooperative_groups::this_cluster().barrier_wait();
    arrived = false;
  }
  // Nor to one that has ended.
  __device__ void end() { wait(); }

  template <bool INITIAL>
  __device__ const T* rows(const Step& step, int s, int first, int) {
    const int width = pitch(s);
    if (INITIAL && first == 0) {
      const int old = part.count(step.before), count = part.count(step.rows) - old;
      if (count > 0) {
        copy_rows(slot(s) + old * width, width, count, width,
                  [&](int r) { return operands.initial + int64_t{part.sequence(old + r)} * width; });
        __syncthreads();
      }
    }
    return slot(s) + first * width;
  }
  __device__ __forceinline__ void put(int s, int local, int column, T value) const {
    T* mine = slot(s) + local * pitch(s) + column;
    for (int b = 0; b < shape.blocks; ++b) {
      const int to = rank + b < shape.blocks ? rank + b : rank + b - shape.blocks;
      *cooperative_groups::this_cluster().map_shared_rank(mine, static_cast<unsigned>(to)) = value;
    }
  }
};

}  // namespace s2s::cuda

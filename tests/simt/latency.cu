// What one hand-over costs, and how fast memory is read: micro-kernels for benchmarks/gpu. Each entry does
// its work `rounds` times in one launch and gives the device's microseconds for all of it; two calls of
// different `rounds` give the cost of one. Hand-overs of `words` check what they received.
#include "cuda/detail/groups.h"
#include "entry.h"

namespace s2s::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kThreads = 256;

class Event {
 public:
  Event() { check(cudaEventCreate(&event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  void record() const { check(cudaEventRecord(event_, current_stream())); }
  float since(const Event& start) const {
    check(cudaEventSynchronize(event_));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start.event_, event_));
    return milliseconds * 1000;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

template <class F>
float microseconds_of(const F& enqueue) {
  const Event start, end;
  start.record();
  enqueue();
  end.record();
  return end.since(start);
}

// --- launches

__global__ void __launch_bounds__(kThreads) nothing() {}

// --- barriers

__global__ void __launch_bounds__(kThreads, 1) grid_syncs(int rounds) {
  for (int r = 0; r < rounds; ++r) cg::this_grid().sync();
}

// Each block raises a flag of its own and watches all, as csrc/cuda/detail/recurrent_teams.h does. Before
// that it writes `words`, then it reads those of all: slots [2][blocks * words], used in turn.
__global__ void __launch_bounds__(kThreads, 1)
    flag_barriers(unsigned* flags, unsigned* slots, int words, int rounds, unsigned* wrong) {
  const int blocks = static_cast<int>(gridDim.x), all = blocks * words;
  unsigned strange = 0;
  for (unsigned generation = 1; generation <= static_cast<unsigned>(rounds); ++generation) {
    unsigned* slot = slots + static_cast<int>(generation % 2) * all;
    for (int e = static_cast<int>(threadIdx.x); e < words; e += kThreads)
      slot[static_cast<int>(blockIdx.x) * words + e] = generation;
    __syncthreads();
    if (threadIdx.x == 0) simt::store_release(flags + blockIdx.x, generation);
    for (int b = static_cast<int>(threadIdx.x); b < blocks; b += kThreads) {
      while (simt::load_acquire(flags + b) < generation) simt::backoff();
    }
    __syncthreads();
    for (int e = static_cast<int>(threadIdx.x); e < all; e += kThreads)
      strange |= __ldcg(slot + e) ^ generation;
  }
  if (strange) *wrong = 1;
}

// The same with one counter that all add to.
__global__ void __launch_bounds__(kThreads, 1) counter_barriers(unsigned* count, int rounds) {
  for (unsigned generation = 1; generation <= static_cast<unsigned>(rounds); ++generation) {
    __syncthreads();
    if (threadIdx.x == 0) {
      simt::add_release(count, 1);
      while (simt::load_acquire(count) < generation * gridDim.x) simt::backoff();
    }
    __syncthreads();
  }
}

// Each block of a cluster writes `words` into every other's shared memory before the barrier, and reads all
// of its own after it. words = 0: the barrier alone.
__global__ void __launch_bounds__(kThreads, 1) cluster_barriers(int words, int rounds, unsigned* wrong) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  S2S_DYNAMIC_SHARED(unsigned, slots);
  const cg::cluster_group cluster = cg::this_cluster();
  const int blocks = static_cast<int>(cluster.num_blocks()), rank = static_cast<int>(cluster.block_rank());
  unsigned strange = 0;
  cluster.sync();  // all have begun
  for (unsigned generation = 1; generation <= static_cast<unsigned>(rounds); ++generation) {
    unsigned* slot = slots + static_cast<int>(generation % 2) * blocks * words;
    for (int e = static_cast<int>(threadIdx.x); e < words; e += kThreads) {
      for (int b = 0; b < blocks; ++b)
        *cluster.map_shared_rank(slot + rank * words + e, static_cast<unsigned>((rank + b) % blocks)) =
            generation;
    }
    cluster.barrier_arrive();
    cluster.barrier_wait();
    for (int e = static_cast<int>(threadIdx.x); e < blocks * words; e += kThreads)
      strange |= slot[e] ^ generation;
  }
  cluster.sync();  // none has ended
  if (strange) *wrong = 1;
#endif
}

// One thread follows a chain of indices through the shared memory of the block `distance` further.
constexpr int kLinks = 64;
__global__ void __launch_bounds__(32) remote_loads(unsigned distance, int rounds, unsigned* end) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  S2S_SHARED(unsigned[kLinks], chain);
  for (unsigned i = threadIdx.x; i < kLinks; i += blockDim.x) chain[i] = (i + 17) % kLinks;
  const cg::cluster_group cluster = cg::this_cluster();
  cluster.sync();
  if (cluster.block_rank() == 0 && threadIdx.x == 0) {
    const volatile unsigned* remote = cluster.map_shared_rank(&chain[0], distance);
    unsigned at = 0;
    for (int r = 0; r < rounds; ++r) at = remote[at];
    *end = at;
  }
  cluster.sync();  // its memory is read until here
#endif
}

// --- memory: all multiprocessors, 16 bytes a load

__global__ void __launch_bounds__(512) read_memory(const float4* from, int64_t n, int rounds, float* sink) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  float sum = 0;
  for (int r = 0; r < rounds; ++r) {
    const int64_t begin = int64_t{(blockIdx.x + static_cast<unsigned>(r)) % gridDim.x} * blockDim.x;
#pragma unroll 8
    for (int64_t i = begin + threadIdx.x; i < n; i += stride) {
      const float4 v = __ldcg(from + i);
      sum += v.x + v.y + v.z + v.w;
    }
  }
  if (sum == -1) *sink = sum;  // never
}

__global__ void __launch_bounds__(512) copy_memory(const float4* from, int64_t n, int rounds, float4* to) {
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  for (int r = 0; r < rounds; ++r) {
    const int64_t begin = int64_t{(blockIdx.x + static_cast<unsigned>(r)) % gridDim.x} * blockDim.x;
#pragma unroll 8
    for (int64_t i = begin + threadIdx.x; i < n; i += stride) to[i] = __ldcg(from + i);
  }
}

// --- host

dim3 blocks_of(int n) {
  return dim3(static_cast<unsigned>(n));
}

void expect_right(const Scratch& wrong) {
  unsigned value = 0;
  fetch(&value, wrong, 1);
  if (value != 0) throw std::runtime_error("[latency] A block read what another had not handed over yet.");
}

Launch cluster_launch(int blocks, int clusters, int words) {
  return {.grid = blocks_of(blocks * clusters),
          .block = dim3(kThreads),
          .shared = size_t{2} * static_cast<size_t>(blocks) * static_cast<size_t>(words) * 4,
          .cluster = static_cast<unsigned>(blocks)};
}

void expect_room(int blocks, int words) {
  if (max_active_clusters(cluster_barriers, cluster_launch(blocks, 1, words)) == 0)
    throw std::runtime_error("[latency] No cluster of " + std::to_string(blocks) +
                             " blocks fits on the device.");
}

}  // namespace

// kind: 0 plain, 1 cooperative, else in clusters of that many blocks.
S2S_ENTRY const char* s2s_time_launches(int kind, int blocks, int rounds, float* microseconds) {
  return guarded([&] {
    if (kind > 1) expect_room(kind, 0);
    const Launch l{.grid = blocks_of(blocks),
                   .block = dim3(kThreads),
                   .cluster = static_cast<unsigned>(kind > 1 ? kind : 1),
                   .cooperative = kind == 1};
    *microseconds = microseconds_of([&] {
      for (int r = 0; r < rounds; ++r) launch(nothing, l);
    });
  });
}

S2S_ENTRY const char* s2s_time_grid_sync(int blocks, int rounds, float* microseconds) {
  return guarded([&] {
    *microseconds = microseconds_of([&] {
      launch(grid_syncs, {.grid = blocks_of(blocks), .block = dim3(kThreads), .cooperative = true}, rounds);
    });
  });
}

S2S_ENTRY const char* s2s_time_flag_barrier(int blocks, int words, int rounds, float* microseconds) {
  return guarded([&] {
    const size_t count = static_cast<size_t>(blocks) * 4;
    const Scratch flags = zeros(count), slots = zeros(2 * count * static_cast<size_t>(words)),
                  wrong = zeros(4);
    *microseconds = microseconds_of([&] {
      launch(flag_barriers, {.grid = blocks_of(blocks), .block = dim3(kThreads), .cooperative = true},
             flags.as<unsigned>(), slots.as<unsigned>(), words, rounds, wrong.as<unsigned>());
    });
    expect_right(wrong);
  });
}

S2S_ENTRY const char* s2s_time_counter_barrier(int blocks, int rounds, float* microseconds) {
  return guarded([&] {
    const Scratch count = zeros(4);
    *microseconds = microseconds_of([&] {
      launch(counter_barriers, {.grid = blocks_of(blocks), .block = dim3(kThreads), .cooperative = true},
             count.as<unsigned>(), rounds);
    });
  });
}

// How many clusters of `blocks` blocks, each with `shared` bytes, the device holds at once.
S2S_ENTRY const char* s2s_time_clusters(int blocks, int shared, int* clusters) {
  return guarded([&] {
    Launch l = cluster_launch(blocks, 1, 0);
    l.shared = static_cast<size_t>(shared);
    *clusters = max_active_clusters(cluster_barriers, l);
  });
}

S2S_ENTRY const char* s2s_time_cluster_barrier(int blocks, int clusters, int words, int rounds,
                                               float* microseconds) {
  return guarded([&] {
    expect_room(blocks, words);
    const Scratch wrong = zeros(4);
    *microseconds = microseconds_of([&] {
      launch(cluster_barriers, cluster_launch(blocks, clusters, words), words, rounds, wrong.as<unsigned>());
    });
    expect_right(wrong);
  });
}

// distance 0: the block's own shared memory.
S2S_ENTRY const char* s2s_time_remote_loads(int blocks, int distance, int rounds, float* microseconds) {
  return guarded([&] {
    expect_room(blocks, 0);
    const Scratch end = zeros(4);
    *microseconds = microseconds_of([&] {
      launch(remote_loads,
             {.grid = blocks_of(blocks), .block = dim3(32), .cluster = static_cast<unsigned>(blocks)},
             static_cast<unsigned>(distance), rounds, end.as<unsigned>());
    });
    unsigned at = 0;
    fetch(&at, end, 1);
    if (at != static_cast<unsigned>(int64_t{17} * rounds % kLinks))
      throw std::runtime_error("[latency] The chain through remote shared memory ends at a wrong place.");
  });
}

// Bytes: read once in each round; copied: half of them read, half written.
S2S_ENTRY const char* s2s_time_memory(int copied, int64_t bytes, int rounds, float* microseconds) {
  return guarded([&] {
    const int64_t n = bytes / 16 / (copied ? 2 : 1);
    const Scratch from(static_cast<size_t>(n) * 16), to(copied ? static_cast<size_t>(n) * 16 : 16);
    check(cudaMemsetAsync(from.as<char>(), 0x3c, static_cast<size_t>(n) * 16, current_stream()));
    const int most = 4 * multiprocessors();
    const int64_t blocks = (n + 511) / 512;
    const Launch l{.grid = blocks_of(blocks < most ? static_cast<int>(blocks) : most), .block = dim3(512)};
    *microseconds = microseconds_of([&] {
      if (copied)
        launch(copy_memory, l, from.as<float4>(), n, rounds, to.as<float4>());
      else
        launch(read_memory, l, from.as<float4>(), n, rounds, to.as<float>());
    });
  });
}

}  // namespace s2s::cuda

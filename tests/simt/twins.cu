// One kernel to a piece of csrc/cuda/detail/ptx.h, and one of a cluster. tests/test_cuda_ptx.py compares what
// they give with numpy: on a GPU that is the hardware, elsewhere the emulator's twin.
#include "cuda/detail/groups.h"
#include "entry.h"

namespace s2s::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kWarp = 32;

// Registers as the lanes hold them: a [32][4], b [32][2], c and d [32][4].
template <class T>
__global__ void __launch_bounds__(kWarp)
    multiply_fragments(const uint32_t* a, const uint32_t* b, const float* c, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t fa[4] = {a[4 * lane], a[4 * lane + 1], a[4 * lane + 2], a[4 * lane + 3]};
  const uint32_t fb[2] = {b[2 * lane], b[2 * lane + 1]};
  const float fc[4] = {c[4 * lane], c[4 * lane + 1], c[4 * lane + 2], c[4 * lane + 3]};
  float fd[4];
  simt::mma_m16n8k16<T>(fd, fa, fb, fc);
  for (int i = 0; i < 4; ++i) d[4 * lane + i] = fd[i];
}

// 32 rows of 8 elements; lane l gives the address of row rows[l].
template <bool TRANSPOSED>
__global__ void __launch_bounds__(kWarp) load_matrices(const uint4* from, const int* rows, uint32_t* to) {
  S2S_SHARED(uint4[kWarp], tile);
  const int lane = static_cast<int>(threadIdx.x);
  tile[lane] = from[lane];
  __syncthreads();
  uint32_t r[4];
  simt::ldmatrix_x4<TRANSPOSED>(r, &tile[rows[lane]]);
  for (int i = 0; i < 4; ++i) to[4 * lane + i] = r[i];
}

// `stages` times 32 pieces of 16 bytes go through three buffers, two stages ahead; `bytes` of each are read.
// A lane passes on what another one fetched.
__global__ void __launch_bounds__(kWarp)
    copy_pipeline(const uint4* from, const int* bytes, int stages, uint4* to) {
  S2S_SHARED(uint4[3][kWarp], buffer);
  const int lane = static_cast<int>(threadIdx.x);
  const auto fetch_stage = [&](int s) {
    if (s < stages) simt::cp_async16(&buffer[s % 3][lane], from + s * kWarp + lane, bytes[s * kWarp + lane]);
    simt::cp_async_commit();
  };
  fetch_stage(0);
  fetch_stage(1);
  for (int s = 0; s < stages; ++s) {
    fetch_stage(s + 2);
    simt::cp_async_wait<2>();
    __syncthreads();
    const int other = kWarp - 1 - lane;
    to[s * kWarp + other] = buffer[s % 3][other];
    __syncthreads();
  }
}

// The blocks take turns, `rounds` times round: who has the turn computes on the words that the last one left.
__global__ void __launch_bounds__(kWarp) take_turns(unsigned* words, unsigned* turn, int rounds) {
  for (int r = 0; r < rounds; ++r) {
    const unsigned mine = static_cast<unsigned>(r) * gridDim.x + blockIdx.x;
    if (threadIdx.x == 0) {
      while (simt::load_acquire(turn) != mine) simt::backoff();
    }
    __syncthreads();
    words[threadIdx.x] = 3 * words[threadIdx.x] + mine + threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) simt::store_release(turn, mine + 1);
  }
}

__device__ unsigned word_of(unsigned block, unsigned thread) {
  return (block + 1) * 1000 + thread;
}

// All blocks write, then count themselves; the first waits for all and adds up.
__global__ void __launch_bounds__(kWarp)
    arrive_and_wait(unsigned* words, unsigned* count, unsigned* before, unsigned* sums) {
  words[blockIdx.x * kWarp + threadIdx.x] = word_of(blockIdx.x, threadIdx.x);
  __syncthreads();
  if (threadIdx.x == 0) before[blockIdx.x] = simt::add_release(count, 1);
  if (blockIdx.x != 0) return;
  if (threadIdx.x == 0) {
    while (simt::load_acquire(count) != gridDim.x) simt::backoff();
  }
  __syncthreads();
  unsigned sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += words[b * kWarp + threadIdx.x];
  sums[threadIdx.x] = sum;
}

// The same without waiting: whoever arrives last adds up.
__global__ void __launch_bounds__(kWarp)
    last_adds_up(unsigned* words, unsigned* count, unsigned* before, unsigned* sums) {
  S2S_SHARED(unsigned[1], arrived);
  words[blockIdx.x * kWarp + threadIdx.x] = word_of(blockIdx.x, threadIdx.x);
  __syncthreads();
  if (threadIdx.x == 0) before[blockIdx.x] = arrived[0] = simt::add_acq_rel(count, 1);
  __syncthreads();
  if (arrived[0] != gridDim.x - 1) return;
  unsigned sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += words[b * kWarp + threadIdx.x];
  sums[threadIdx.x] = sum;
}

// Each block of a cluster writes a row into every other's shared memory; then each reads all rows of its own
// and the same rows of its right neighbour: out [blocks][2][blocks][32].
__global__ void __launch_bounds__(kWarp) exchange_in_cluster(unsigned* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  S2S_SHARED(unsigned[16][kWarp], rows);  // no cluster is larger
  const cg::cluster_group cluster = cg::this_cluster();
  const unsigned rank = cluster.block_rank(), blocks = cluster.num_blocks(), lane = threadIdx.x;
  cluster.sync();  // all have begun
  for (unsigned b = 0; b < blocks; ++b)
    *cluster.map_shared_rank(&rows[rank][lane], b) = word_of(rank, lane) + 100 * b;
  cluster.sync();
  unsigned* to = out + rank * 2 * blocks * kWarp;
  for (unsigned b = 0; b < blocks; ++b) {
    to[b * kWarp + lane] = rows[b][lane];
    to[(blocks + b) * kWarp + lane] = *cluster.map_shared_rank(&rows[b][lane], (rank + 1) % blocks);
  }
  cluster.sync();  // none has ended
#endif
}

// Rounds of a hand-over without a barrier: in each a block writes a word, the round's number in its upper
// half, and reads those of all, two at a time where there are two; out [blocks][rounds]: their sum.
__global__ void __launch_bounds__(kWarp) exchange_words(uint64_t* slots, int rounds, unsigned* out) {
  const unsigned blocks = gridDim.x, rank = blockIdx.x;
  for (int r = 0; r < rounds; ++r) {
    uint64_t* slot = slots + static_cast<unsigned>(r % 2) * (blocks + blocks % 2);
    const auto number = static_cast<unsigned>(r + 1);
    if (threadIdx.x == 0) simt::store_relaxed(slot + rank, uint64_t{number} << 32 | word_of(rank, number));
    unsigned sum = 0;
    for (unsigned b = 2 * threadIdx.x; b + 1 < blocks; b += 2 * kWarp) {
      uint64_t both[2];
      do {
        simt::load_relaxed(slot + b, both);
      } while (both[0] >> 32 != number || both[1] >> 32 != number);
      sum += static_cast<unsigned>(both[0]) + static_cast<unsigned>(both[1]);
    }
    if (blocks % 2 == 1 && threadIdx.x == 0) {
      uint64_t last;
      do {
        last = simt::load_relaxed(slot + blocks - 1);
      } while (last >> 32 != number);
      sum += static_cast<unsigned>(last);
    }
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
      sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (threadIdx.x == 0) out[rank * static_cast<unsigned>(rounds) + static_cast<unsigned>(r)] = sum;
  }
}

// The same in a cluster, by counted stores: 16 bytes from each lane of a block to each other, four from each
// where the round is odd. out [blocks][rounds][32]: each lane's sum of what came for it.
__global__ void __launch_bounds__(kWarp) exchange_pieces(int rounds, unsigned* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  S2S_SHARED(uint4[2][16][kWarp], pieces);  // no cluster is larger
  S2S_SHARED(simt::Arrival[2], arrival);
  const cg::cluster_group cluster = cg::this_cluster();
  const unsigned rank = cluster.block_rank(), blocks = cluster.num_blocks(), lane = threadIdx.x;
  if (lane < 2) simt::arrival_start(&arrival[lane]);
  cluster.sync();  // all have begun
  for (int r = 0; r < rounds; ++r) {
    const int s = r % 2;
    const unsigned word = word_of(rank, lane) + static_cast<unsigned>(r), bytes = r % 2 ? 4 : 16;
    if (lane == 0) simt::arrival_expect(&arrival[s], static_cast<int>((blocks - 1) * kWarp * bytes));
    for (unsigned b = 0; b < blocks; ++b) {
      if (b == rank) continue;
      if (r % 2)
        simt::store_async(&pieces[s][rank][lane].x, word, &arrival[s], b);
      else
        simt::store_async(&pieces[s][rank][lane], make_uint4(word, word + 1, word + 2, word + 3), &arrival[s],
                          b);
    }
    simt::arrival_wait(&arrival[s], static_cast<unsigned>(r / 2 % 2));
    unsigned sum = 0;
    for (unsigned b = 0; b < blocks; ++b) {
      const uint4 piece = pieces[s][b][lane];
      if (b != rank) sum += r % 2 ? piece.x : piece.x + piece.y + piece.z + piece.w;
    }
    out[(rank * static_cast<unsigned>(rounds) + static_cast<unsigned>(r)) * kWarp + lane] = sum;
    __syncwarp();  // all have read, before one hands on what lets the others write here again
  }
  cluster.sync();  // none has ended
#endif
}

template <class Kernel>
const char* add_up(const Kernel& kernel, int blocks, unsigned* before, unsigned* sums) {
  return guarded([&] {
    const Scratch words = zeros(static_cast<size_t>(blocks) * kWarp * 4), count = zeros(4);
    const Scratch places = zeros(static_cast<size_t>(blocks) * 4), sum = zeros(kWarp * 4);
    launch(kernel, {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kWarp), .cooperative = true},
           words.as<unsigned>(), count.as<unsigned>(), places.as<unsigned>(), sum.as<unsigned>());
    fetch(before, places, blocks);
    fetch(sums, sum, kWarp);
  });
}

}  // namespace

S2S_ENTRY int s2s_tests_on_hardware() {
#if defined(__CUDACC__)
  return 1;
#else
  return 0;
#endif
}

S2S_ENTRY const char* s2s_test_capability(int* capability) {
  return guarded([&] { *capability = compute_capability(); });
}

S2S_ENTRY const char* s2s_test_mma(int bfloat16, const uint32_t* a, const uint32_t* b, const float* c,
                                   float* d) {
  return guarded([&] {
    Scratch ma, mb, mc;
    const Scratch out(kWarp * 4 * sizeof(float));
    launch(bfloat16 ? multiply_fragments<__nv_bfloat16> : multiply_fragments<__half>,
           {.grid = dim3(1), .block = dim3(kWarp)}, upload(a, kWarp * 4, ma), upload(b, kWarp * 2, mb),
           upload(c, kWarp * 4, mc), out.as<float>());
    fetch(d, out, kWarp * 4);
  });
}

S2S_ENTRY const char* s2s_test_ldmatrix(int transposed, const uint4* from, const int* rows, uint32_t* to) {
  return guarded([&] {
    Scratch tile, places;
    const Scratch out(kWarp * 4 * sizeof(uint32_t));
    launch(transposed ? load_matrices<true> : load_matrices<false>, {.grid = dim3(1), .block = dim3(kWarp)},
           upload(from, kWarp, tile), upload(rows, kWarp, places), out.as<uint32_t>());
    fetch(to, out, kWarp * 4);
  });
}

S2S_ENTRY const char* s2s_test_cp_async(const uint4* from, const int* bytes, int stages, uint4* to) {
  return guarded([&] {
    Scratch pieces, counts;
    const int64_t n = int64_t{stages} * kWarp;
    const Scratch out(static_cast<size_t>(n) * sizeof(uint4));
    launch(copy_pipeline, {.grid = dim3(1), .block = dim3(kWarp)}, upload(from, n, pieces),
           upload(bytes, n, counts), stages, out.as<uint4>());
    fetch(to, out, n);
  });
}

S2S_ENTRY const char* s2s_test_turns(int blocks, int rounds, unsigned* words) {
  return guarded([&] {
    const Scratch memory = zeros(kWarp * 4), turn = zeros(4);
    launch(take_turns,
           {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kWarp), .cooperative = true},
           memory.as<unsigned>(), turn.as<unsigned>(), rounds);
    fetch(words, memory, kWarp);
  });
}

S2S_ENTRY const char* s2s_test_add_release(int blocks, unsigned* before, unsigned* sums) {
  return add_up(arrive_and_wait, blocks, before, sums);
}

S2S_ENTRY const char* s2s_test_add_acq_rel(int blocks, unsigned* before, unsigned* sums) {
  return add_up(last_adds_up, blocks, before, sums);
}

S2S_ENTRY const char* s2s_test_cluster(int blocks, unsigned* out) {
  return guarded([&] {
    const int64_t n = int64_t{blocks} * 2 * blocks * kWarp;
    const Scratch memory(static_cast<size_t>(n) * 4);
    launch(exchange_in_cluster,
           {.grid = dim3(static_cast<unsigned>(blocks)),
            .block = dim3(kWarp),
            .cluster = static_cast<unsigned>(blocks)},
           memory.as<unsigned>());
    fetch(out, memory, n);
  });
}

S2S_ENTRY const char* s2s_test_words(int blocks, int rounds, unsigned* out) {
  return guarded([&] {
    const Scratch slots = zeros(static_cast<size_t>(blocks + 1) * 16);
    const int64_t n = int64_t{blocks} * rounds;
    const Scratch memory(static_cast<size_t>(n) * 4);
    launch(exchange_words,
           {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kWarp), .cooperative = true},
           slots.as<uint64_t>(), rounds, memory.as<unsigned>());
    fetch(out, memory, n);
  });
}

S2S_ENTRY const char* s2s_test_pieces(int blocks, int rounds, unsigned* out) {
  return guarded([&] {
    const int64_t n = int64_t{blocks} * rounds * kWarp;
    const Scratch memory(static_cast<size_t>(n) * 4);
    launch(exchange_pieces,
           {.grid = dim3(static_cast<unsigned>(blocks)),
            .block = dim3(kWarp),
            .cluster = static_cast<unsigned>(blocks)},
           rounds, memory.as<unsigned>());
    fetch(out, memory, n);
  });
}

}  // namespace s2s::cuda

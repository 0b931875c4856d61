// Mistakes between blocks: hand-over through global memory, counters, residency; and around a launch.
#include "bugs.h"

namespace s2s::cuda {
namespace {

namespace cg = cooperative_groups;

// Each step sums what all blocks wrote in the last.
enum class Step { right, block_barrier };
template <Step S>
__global__ void __launch_bounds__(32) steps(int* values, int n) {
  const int blocks = gridDim.x;
  for (int t = 0; t < n; ++t) {
    const int* last = values + (t & 1) * blocks;
    int* next = values + (~t & 1) * blocks;
    if (threadIdx.x == 0) {
      int sum = 0;
      for (int b = 0; b < blocks; ++b) sum += __ldcg(last + b);
      next[blockIdx.x] = sum;
    }
    if (S == Step::right)
      cg::this_grid().sync();
    else
      __syncthreads();
  }
}
template <bool BUG>
std::string block_barrier_for_grid() {
  const DeviceArray<int> values(8, 1);
  launch(steps < BUG ? Step::block_barrier : Step::right >, {.grid = 4, .block = 32, .cooperative = true},
         values.data(), 3);
  std::vector<int> want = values.get();
  for (int b = 0; b < 4; ++b) want[4 + b] = 64;
  return expect(values.get(), want);
}

// A barrier of the grid by hand: all threads of a block have written, then one says so for them.
enum class Barrier { right, no_block_barrier, plain_flag };
template <Barrier B>
__device__ void grid_barrier(unsigned* arrived, unsigned round) {
  if (B != Barrier::no_block_barrier) __syncthreads();
  if (threadIdx.x == 0) {
    if (B == Barrier::plain_flag)
      atomicAdd(arrived, 1u);
    else
      simt::add_release(arrived, 1u);
    while (simt::load_acquire(arrived) < round * gridDim.x) simt::backoff();
  }
  __syncthreads();
}
template <Barrier B>
__global__ void __launch_bounds__(64) steps_by_hand(int* values, unsigned* arrived, int n) {
  const int threads = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int t = 0; t < n; ++t) {
    const int* last = values + (t & 1) * threads;
    int* next = values + (~t & 1) * threads;
    next[i] = __ldcg(last + (i + 63) % threads) + 1;
    grid_barrier<B>(arrived, static_cast<unsigned>(t) + 1);
  }
}
template <Barrier B>
std::string by_hand() {
  const DeviceArray<int> values(2 * 192, 1);
  const DeviceArray<unsigned> arrived(1);
  launch(steps_by_hand<B>, {.grid = 3, .block = 64, .cooperative = true}, values.data(), arrived.data(), 5);
  std::vector<int> want = values.get();
  for (int i = 0; i < 192; ++i) want[192 + i] = 6, want[i] = 5;
  return expect(values.get(), want);
}

template <bool BUG>
std::string waits_for_absent_blocks() {
  const DeviceArray<int> values(2 * 192, 1);
  const DeviceArray<unsigned> arrived(1);
  launch(steps_by_hand<Barrier::right>, {.grid = 3, .block = 64, .cooperative = !BUG}, values.data(),
         arrived.data(), 1);
  return "";
}

template <bool BUG>
std::string grid_too_large() {
  const int fit = multiprocessors() * max_active_blocks(steps<Step::right>, 32, 200 * 1024);
  const unsigned blocks = static_cast<unsigned>(BUG ? fit + 1 : 4);
  const DeviceArray<int> values(2 * blocks, 1);
  launch(steps<Step::right>, {.grid = blocks, .block = 32, .shared = 200 * 1024, .cooperative = true},
         values.data(), 1);
  return "";
}

template <bool BUG>
__global__ void __launch_bounds__(32) count(int* n) {
  if (BUG)
    *n = *n + 1;
  else
    atomicAdd(n, 1);
}
template <bool BUG>
std::string counter_not_atomic() {
  const DeviceArray<int> n(1);
  launch(count<BUG>, {.grid = 2, .block = 32}, n.data());
  return expect(n.get(), {64});
}

template <bool BUG>
__global__ void __launch_bounds__(32) owner(int* out) {
  if (threadIdx.x == 0 && (!BUG || blockIdx.x < 3)) out[BUG ? 0 : blockIdx.x] = 1;
}
template <bool BUG>
std::string two_writers() {  // of the same value: no result shows it
  const DeviceArray<int> out(3);
  launch(owner<BUG>, {.grid = 3, .block = 32}, out.data());
  return BUG ? "" : expect(out.get(), {1, 1, 1});
}

// The last block to arrive adds up what all have written, so its count must be ordered with their writes.
template <bool BUG>
__global__ void __launch_bounds__(32) last_block(int* part, unsigned* arrived, int* out) {
  if (threadIdx.x != 0) return;
  part[blockIdx.x] = 1;
  const unsigned before = BUG ? atomicAdd(arrived, 1u) : simt::add_acq_rel(arrived, 1u);
  if (before != gridDim.x - 1) return;
  int sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += __ldcg(part + b);
  *out = sum;
}
template <bool BUG>
std::string counter_without_order() {
  const DeviceArray<int> part(4), out(1);
  const DeviceArray<unsigned> arrived(1);
  launch(last_block<BUG>, {.grid = 4, .block = 32}, part.data(), arrived.data(), out.data());
  return expect(out.get(), {4});
}

template <bool BUG>
__global__ void __launch_bounds__(32) wait_for_flag(unsigned* flag) {
  if (!BUG && threadIdx.x == 1) simt::store_release(flag, 1u);
  if (threadIdx.x == 0)
    while (simt::load_acquire(flag) == 0) simt::backoff();
}
template <bool BUG>
std::string endless_spin() {
  const DeviceArray<unsigned> flag(1);
  launch(wait_for_flag<BUG>, {.grid = 1, .block = 32}, flag.data());
  return "";
}

__global__ void __launch_bounds__(32) sum_of(const float* x, float* y, int n) {
  float sum = 0.0f;
  for (int i = 0; i < n; ++i) sum += x[i];
  if (threadIdx.x == 0) *y = sum;
}
template <bool BUG>
std::string scratch_not_written() {
  const Scratch x(4 * 8);
  if (!BUG) check(cudaMemsetAsync(x.as<void>(), 0, 4 * 8, current_stream()));
  const DeviceArray<float> y(1);
  launch(sum_of, {.grid = 1, .block = 32}, x.as<float>(), y.data(), 8);
  return expect(y.get(), {0.0f});
}
template <bool BUG>
std::string scratch_used_after_its_end() {
  const float* x = nullptr;
  Scratch kept;
  {
    Scratch memory(4 * 8);
    check(cudaMemsetAsync(memory.as<void>(), 0, 4 * 8, current_stream()));
    x = memory.as<float>();
    if (!BUG) kept = std::move(memory);
  }
  const DeviceArray<float> y(1);
  launch(sum_of, {.grid = 1, .block = 32}, x, y.data(), 8);
  return expect(y.get(), {0.0f});
}
template <bool BUG>
std::string copy_past_the_end() {
  const DeviceArray<int> x(4);
  int host[5];
  check(cudaMemcpy(host, x.data(), BUG ? 20 : 16, cudaMemcpyDeviceToHost));
  return "";
}
template <bool BUG>
std::string host_memory_as_device() {
  std::vector<int> x(4), y(4);
  const DeviceArray<int> z(4);
  check(cudaMemcpy(BUG ? y.data() : z.data(), x.data(), 16, cudaMemcpyHostToDevice));
  return "";
}

template <bool BUG>
std::string host_reads_the_device() {
  const DeviceArray<int> x(4, 1);
  return expect(std::vector<int>{BUG ? x.data()[3] : x.get()[3]}, {1});
}
template <bool BUG>
std::string kernel_reads_the_host() {
  const std::vector<float> host(8, 1.0f);
  const DeviceArray<float> x(host), y(1);
  launch(sum_of, {.grid = 1, .block = 32}, BUG ? host.data() : x.data(), y.data(), 8);
  return expect(y.get(), {8.0f});
}

#define S2S_CASE(name) {#name, name<false>, name<true>}

}  // namespace

const std::vector<Case> grid_cases = {
    S2S_CASE(block_barrier_for_grid),
    {"hand_over_without_block_barrier", by_hand<Barrier::right>, by_hand<Barrier::no_block_barrier>},
    {"hand_over_by_relaxed_atomic", by_hand<Barrier::right>, by_hand<Barrier::plain_flag>},
    S2S_CASE(waits_for_absent_blocks),
    S2S_CASE(grid_too_large),
    S2S_CASE(counter_not_atomic),
    S2S_CASE(two_writers),
    S2S_CASE(counter_without_order),
    S2S_CASE(endless_spin),
    S2S_CASE(scratch_not_written),
    S2S_CASE(scratch_used_after_its_end),
    S2S_CASE(copy_past_the_end),
    S2S_CASE(host_memory_as_device),
    S2S_CASE(host_reads_the_device),
    S2S_CASE(kernel_reads_the_host),
};

}  // namespace s2s::cuda

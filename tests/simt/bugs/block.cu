// Mistakes within a block: barriers, warps, shared memory, addresses.
#include "bugs.h"

namespace s2s::cuda {
namespace {

constexpr unsigned kAll = 0xffffffffu;

template <bool BUG>
__global__ void __launch_bounds__(128) sum_warps(int* out) {
  S2S_SHARED(int[4], part);
  const int sum = __reduce_add_sync(kAll, static_cast<int>(threadIdx.x));
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  if (!BUG) __syncthreads();
  if (threadIdx.x == 0) *out = part[0] + part[1] + part[2] + part[3];
}
template <bool BUG>
std::string missing_barrier() {
  DeviceArray<int> out(1);
  launch(sum_warps<BUG>, {.grid = 1, .block = 128}, out.data());
  return expect(out.get(), {127 * 64});
}

// A tile is filled again and again: the second barrier keeps it until all have read it.
template <bool BUG>
__global__ void __launch_bounds__(64) reverse_tiles(const int* x, int* y, int n) {
  S2S_SHARED(int[64], tile);
  for (int i = 0; i < n; i += 64) {
    tile[threadIdx.x] = x[i + threadIdx.x];
    __syncthreads();
    y[i + threadIdx.x] = tile[63 - threadIdx.x];
    if (!BUG) __syncthreads();
  }
}
template <bool BUG>
std::string tile_overwritten() {
  std::vector<int> values(256), want(256);
  for (int i = 0; i < 256; ++i) values[i] = i;
  for (int i = 0; i < 256; ++i) want[i] = i / 64 * 64 + 63 - i % 64;
  const DeviceArray<int> x(values), y(256);
  launch(reverse_tiles<BUG>, {.grid = 1, .block = 64}, x.data(), y.data(), 256);
  return expect(y.get(), want);
}

template <bool BUG>
__global__ void __launch_bounds__(64) divergent(int* out) {
  if (!BUG || threadIdx.x < 32) __syncthreads();
  out[threadIdx.x] = 1;
  __syncthreads();
}
template <bool BUG>
std::string divergent_barrier() {
  const DeviceArray<int> out(64);
  launch(divergent<BUG>, {.grid = 1, .block = 64}, out.data());
  return expect(out.get(), std::vector<int>(64, 1));
}

template <bool BUG>
__global__ void __launch_bounds__(64) early(int* out, int n) {
  if (BUG && threadIdx.x >= static_cast<unsigned>(n)) return;
  __syncthreads();
  if (threadIdx.x < static_cast<unsigned>(n)) out[threadIdx.x] = 1;
}
template <bool BUG>
std::string early_return() {
  const DeviceArray<int> out(40);
  launch(early<BUG>, {.grid = 1, .block = 64}, out.data(), 40);
  return expect(out.get(), std::vector<int>(40, 1));
}

template <bool BUG>
__global__ void __launch_bounds__(32) neighbours(int* out) {
  if (BUG && threadIdx.x == 3) return;
  out[threadIdx.x] = __shfl_xor_sync(kAll, static_cast<int>(threadIdx.x), 1);
}
template <bool BUG>
std::string shuffle_with_the_gone() {
  const DeviceArray<int> out(32);
  launch(neighbours<BUG>, {.grid = 1, .block = 32}, out.data());
  std::vector<int> want(32);
  for (int i = 0; i < 32; ++i) want[i] = i ^ 1;
  return expect(out.get(), want);
}

template <bool BUG>
__global__ void __launch_bounds__(32) half_warps(int* out) {
  int value = threadIdx.x;
  if (BUG) {
    if (threadIdx.x < 16)
      value = __shfl_xor_sync(kAll, value, 1);
    else
      value = __shfl_xor_sync(kAll, value, 2);
  } else {
    value = __shfl_sync(kAll, value, threadIdx.x ^ (threadIdx.x < 16 ? 1 : 2));
  }
  out[threadIdx.x] = value;
}
template <bool BUG>
std::string divergent_shuffle() {
  const DeviceArray<int> out(32);
  launch(half_warps<BUG>, {.grid = 1, .block = 32}, out.data());
  std::vector<int> want(32);
  for (int i = 0; i < 32; ++i) want[i] = i ^ (i < 16 ? 1 : 2);
  return expect(out.get(), want);
}

// Lanes that hand over by shared memory, as if a warp still moved in lockstep.
template <bool BUG>
__global__ void __launch_bounds__(32) lockstep(int* out) {
  S2S_SHARED(int[32], value);
  value[threadIdx.x] = threadIdx.x;
  if (!BUG) __syncwarp();
  out[threadIdx.x] = value[31 - threadIdx.x];
}
template <bool BUG>
std::string missing_syncwarp() {
  const DeviceArray<int> out(32);
  launch(lockstep<BUG>, {.grid = 1, .block = 32}, out.data());
  std::vector<int> want(32);
  for (int i = 0; i < 32; ++i) want[i] = 31 - i;
  return expect(out.get(), want);
}

template <bool BUG>
__global__ void __launch_bounds__(64) one_past(int* out) {
  S2S_SHARED(int[BUG ? 63 : 64], value);
  value[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = value[63 - threadIdx.x];
}
template <bool BUG>
std::string shared_past_the_end() {
  const DeviceArray<int> out(64);
  launch(one_past<BUG>, {.grid = 1, .block = 64}, out.data());
  return expect(out.get(), std::vector<int>(64, 1));
}

__global__ void __launch_bounds__(64) dynamic(int* out) {
  S2S_DYNAMIC_SHARED(int, value);
  value[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = value[63 - threadIdx.x];
}
template <bool BUG>
std::string dynamic_shared_too_short() {
  const DeviceArray<int> out(64);
  launch(dynamic, {.grid = 1, .block = 64, .shared = 4 * (BUG ? 63 : 64)}, out.data());
  return expect(out.get(), std::vector<int>(64, 1));
}

template <bool BUG>
__global__ void __launch_bounds__(64) unwritten(float* out) {
  S2S_SHARED(float[64], value);
  if (!BUG || threadIdx.x < 32) value[threadIdx.x] = 0.0f;
  __syncthreads();
  out[threadIdx.x] = value[63 - threadIdx.x];
}
template <bool BUG>
std::string shared_not_written() {
  const DeviceArray<float> out(64);
  launch(unwritten<BUG>, {.grid = 1, .block = 64}, out.data());
  return expect(out.get(), std::vector<float>(64, 0.0f));
}

template <bool BUG>
__global__ void __launch_bounds__(64) guarded(int* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < (BUG ? n + 1 : n)) out[i] = 1;
}
template <bool BUG>
std::string global_past_the_end() {
  const DeviceArray<int> out(100);
  launch(guarded<BUG>, {.grid = 2, .block = 64}, out.data(), 100);
  return expect(out.get(), std::vector<int>(100, 1));
}

__global__ void __launch_bounds__(32) four_at_once(const float* x, float* y) {
  const float4 v = *reinterpret_cast<const float4*>(x);
  if (threadIdx.x == 0) *y = v.x + v.y + v.z + v.w;
}
template <bool BUG>
std::string misaligned_vector() {
  const DeviceArray<float> x(8, 1.0f), y(1);
  launch(four_at_once, {.grid = 1, .block = 32}, x.data() + (BUG ? 1 : 4), y.data());
  return expect(y.get(), {4.0f});
}

// CUDA aligns an array of float to 4 bytes.
template <bool BUG>
__global__ void __launch_bounds__(32) shared_vector(float* y) {
  using Row = std::conditional_t<BUG, float[32], float4[8]>;
  S2S_SHARED(Row, row);
  auto* floats = reinterpret_cast<float*>(&row);
  floats[threadIdx.x] = 1.0f;
  __syncthreads();
  const float4 v = reinterpret_cast<const float4*>(floats)[threadIdx.x % 8];
  y[threadIdx.x] = v.x + v.y + v.z + v.w;
}
template <bool BUG>
std::string misaligned_shared_vector() {
  const DeviceArray<float> y(32);
  launch(shared_vector<BUG>, {.grid = 1, .block = 32}, y.data());
  return expect(y.get(), std::vector<float>(32, 4.0f));
}

// A kernel that may begin before the one ahead has ended; threads that have nothing to do wait, too.
template <bool BUG>
__global__ void __launch_bounds__(64) overlapping(int* out, int n) {
  if (BUG && threadIdx.x >= static_cast<unsigned>(n)) return;
  simt::wait_for_earlier();
  if (threadIdx.x < static_cast<unsigned>(n)) out[threadIdx.x] = 1;
}
template <bool BUG>
std::string overlap_without_wait() {
  const DeviceArray<int> out(40);
  launch(overlapping<BUG>, {.grid = 1, .block = 64, .overlaps = true}, out.data(), 40);
  return expect(out.get(), std::vector<int>(40, 1));
}

#define S2S_CASE(name) {#name, name<false>, name<true>}

}  // namespace

const std::vector<Case> block_cases = {
    S2S_CASE(missing_barrier),          S2S_CASE(tile_overwritten),
    S2S_CASE(divergent_barrier),        S2S_CASE(early_return),
    S2S_CASE(shuffle_with_the_gone),    S2S_CASE(divergent_shuffle),
    S2S_CASE(missing_syncwarp),         S2S_CASE(shared_past_the_end),
    S2S_CASE(dynamic_shared_too_short), S2S_CASE(shared_not_written),
    S2S_CASE(global_past_the_end),      S2S_CASE(misaligned_vector),
    S2S_CASE(misaligned_shared_vector), S2S_CASE(overlap_without_wait),
};

}  // namespace s2s::cuda

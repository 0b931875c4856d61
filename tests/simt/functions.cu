// Each CUDA function and each piece of PTX that kernels may use, against what it must give by the book. The
// same program runs on the emulator and, compiled by nvcc, on a GPU: so it compares the two.
//   functions [SCHEDULE...]    prints what is wrong and returns 1 if anything is
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "cuda/detail/groups.h"
#if !defined(__CUDACC__)
#include "simt_schedule.h"
#endif

namespace s2s::cuda {
namespace {

namespace cg = cooperative_groups;
constexpr unsigned kAll = 0xffffffffu;

int wrong = 0;
template <class T>
void expect(const char* what, int i, T got, T want) {
  if (got == want || wrong > 50) return;
  std::printf("%s [%d]: %s, not %s\n", what, i, std::to_string(got).c_str(), std::to_string(want).c_str());
  ++wrong;
}

template <class T>
std::vector<T> fetch(const Scratch& memory, int64_t n) {
  std::vector<T> values(n);
  check(cudaMemcpyAsync(values.data(), memory.as<T>(), n * sizeof(T), cudaMemcpyDeviceToHost,
                        current_stream()));
  check(cudaStreamSynchronize(current_stream()));
  return values;
}

// --- warps: one row of 32 results to a function
constexpr int kShuffles = 18;
__global__ void __launch_bounds__(32) shuffles(int* out) {
  const int lane = threadIdx.x;
  int row = 0;
  const auto put = [&](int value) { out[row++ * 32 + lane] = value; };
  put(__shfl_sync(kAll, lane, 5));
  put(__shfl_sync(kAll, lane, lane + 1));
  put(__shfl_sync(kAll, lane, 3, 8));
  put(__shfl_up_sync(kAll, lane, 3));
  put(__shfl_up_sync(kAll, lane, 1, 4));
  put(__shfl_down_sync(kAll, lane, 5));
  put(__shfl_down_sync(kAll, lane, 1, 2));
  put(__shfl_xor_sync(kAll, lane, 7));
  put(__shfl_xor_sync(kAll, lane, 4, 4));
  put(static_cast<int>(__shfl_xor_sync(kAll, static_cast<float>(lane) + 0.5f, 1) * 2.0f));
  put(static_cast<int>(__ballot_sync(kAll, lane % 3 == 0)));
  put(__any_sync(kAll, lane == 31) + 2 * __all_sync(kAll, lane < 32) + 4 * __all_sync(kAll, lane > 0));
  put(__reduce_add_sync(kAll, lane - 5));
  put(__reduce_min_sync(kAll, lane - 5));
  put(static_cast<int>(__reduce_max_sync(kAll, static_cast<unsigned>(lane))));
  put(static_cast<int>(__reduce_or_sync(kAll, 1u << lane)));
  put(lane < 16 ? __shfl_xor_sync(0xffffu, lane, 1) : __reduce_add_sync(0xffff0000u, 1));
  put(__popc(static_cast<unsigned>(lane)));
}
int shuffled(int row, int l) {
  unsigned ballot = 0;
  for (int i = 0; i < 32; i += 3) ballot |= 1u << i;
  const int want[kShuffles] = {5,
                               (l + 1) % 32,
                               l / 8 * 8 + 3,
                               l < 3 ? l : l - 3,
                               l % 4 == 0 ? l : l - 1,
                               l > 26 ? l : l + 5,
                               l % 2 == 1 ? l : l + 1,
                               l ^ 7,
                               (l ^ 4) / 4 > l / 4 ? l : l ^ 4,
                               2 * (l ^ 1) + 1,
                               static_cast<int>(ballot),
                               3,
                               31 * 16 - 5 * 32,
                               -5,
                               31,
                               -1,
                               l < 16 ? l ^ 1 : 16,
                               __builtin_popcount(static_cast<unsigned>(l))};
  return want[row];
}
void test_warps() {
  const Scratch out(4 * 32 * kShuffles);
  launch(shuffles, {.grid = 1, .block = 32}, out.as<int>());
  const auto got = fetch<int>(out, 32 * kShuffles);
  for (int i = 0; i < 32 * kShuffles; ++i) expect("warp function", i, got[i], shuffled(i / 32, i % 32));
}

// --- blocks: votes, indices of three dimensions, shared memory of both kinds, atomics
__global__ void __launch_bounds__(96) block_functions(int* out, int* atomics) {
  S2S_SHARED(int[96], kept);
  S2S_DYNAMIC_SHARED(int, more);
  const int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  kept[t] = t;
  more[t] = 2 * t;
  const int count = __syncthreads_count(t % 2);
  const int all = __syncthreads_and(t >= 0), not_all = __syncthreads_and(t > 0);
  const int any = __syncthreads_or(t == 95), none = __syncthreads_or(t > 95);
  const int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  int sum = kept[95 - t] + more[95 - t];
  if (count == 48 && all && !not_all && any && !none) sum += 1000 * (b + 1);
  out[b * 96 + t] = sum;
  atomicAdd(&atomics[0], t);
  atomicSub(&atomics[1], 1);
  atomicMin(&atomics[2], -t);
  atomicMax(&atomics[3], t);
  atomicOr(&atomics[4], 1 << t % 8);
  if (atomicCAS(&atomics[5], 0, 7) == 0) atomicExch(&atomics[6], 9);
}
void test_blocks() {
  const Scratch out(4 * 96 * 24), atomics(4 * 7);
  check(cudaMemsetAsync(atomics.as<void>(), 0, 4 * 7, current_stream()));
  launch(block_functions, {.grid = dim3(2, 3, 4), .block = dim3(4, 6, 4), .shared = 4 * 96}, out.as<int>(),
         atomics.as<int>());
  const auto got = fetch<int>(out, 96 * 24);
  for (int i = 0; i < 96 * 24; ++i)
    expect("block function", i, got[i], 3 * (95 - i % 96) + 1000 * (i / 96 + 1));
  const std::vector<int> want = {95 * 48 * 24, -96 * 24, -95, 95, 255, 7, 9};
  const auto counted = fetch<int>(atomics, 7);
  for (int i = 0; i < 7; ++i) expect("atomic", i, counted[i], want[i]);
}

// --- numbers
constexpr int kNumbers = 20;
__global__ void __launch_bounds__(32) numbers(unsigned* out) {
  if (threadIdx.x != 0) return;
  const unsigned got[kNumbers] = {
      static_cast<unsigned>(__dp4a(static_cast<int>(0x80ff017fu), static_cast<int>(0x7f02fe7fu), 10)),
      __dp4a(0x80ff017fu, 0x7f02fe7fu, 10u),
      __byte_perm(0x03020100u, 0x87060504u, 0x7531u),
      __byte_perm(0x03020100u, 0x87060504u, 0xf0f8u),
      __brev(1u),
      static_cast<unsigned>(__clz(1)) + static_cast<unsigned>(__ffs(8)) * 100,
      __umulhi(0xd2511f53u, 0xcd9e8d57u),
      __funnelshift_l(0x80000001u, 5u, 1),
      __funnelshift_r(0x80000001u, 5u, 1),
      static_cast<unsigned>(__float2int_rn(2.5f)),
      static_cast<unsigned>(__float2int_rn(-3.5f)),
      static_cast<unsigned>(__float2int_rn(1e20f)),
      static_cast<unsigned>(__float2int_rz(-2.9f)),
      __float_as_uint(1.5f),
      __float_as_uint(min(3.0f, 2.0f)) - __float_as_uint(max(2.0f, 1.0f)),
      static_cast<unsigned>(min(-1, 3)),
      max(1u, 0xffffffffu),
      __float_as_uint(__saturatef(3.0f)),
      __half_as_ushort(__float2half(1.0f + 0x1p-11f)),  // a tie: to the even
      __bfloat16_as_ushort(__float2bfloat16(1.0f + 0x3p-8f)),
  };
  for (int i = 0; i < kNumbers; ++i) out[i] = got[i];
}
void test_numbers() {
  const Scratch out(4 * kNumbers);
  launch(numbers, {.grid = 1, .block = 32}, out.as<unsigned>());
  const auto got = fetch<unsigned>(out, kNumbers);
  const unsigned product_high = static_cast<unsigned>(uint64_t{0xd2511f53u} * 0xcd9e8d57u >> 32);
  const unsigned want[kNumbers] = {
      static_cast<unsigned>(127 * 127 + 1 * -2 + -1 * 2 + -128 * 127 + 10),
      127u * 127u + 1u * 254u + 255u * 2u + 128u * 127u + 10u,
      0x87050301u,
      0x87008700u,
      0x80000000u,
      31u + 400u,
      product_high,
      11u,
      0xc0000000u,
      2u,
      static_cast<unsigned>(-4),
      0x7fffffffu,
      static_cast<unsigned>(-2),
      0x3fc00000u,
      0u,
      static_cast<unsigned>(-1),
      0xffffffffu,
      0x3f800000u,
      0x3c00u,
      0x3f82u,
  };
  for (int i = 0; i < kNumbers; ++i) expect("number", i, got[i], want[i]);
}

// All 65536 numbers of a 16-bit type to float and back; NaN stays one.
template <class T>
__global__ void __launch_bounds__(256) there_and_back(const T* x, float* wide, T* back) {
  const int i = blockIdx.x * 256 + threadIdx.x;
  wide[i] = static_cast<float>(x[i]);
  back[i] = static_cast<T>(wide[i]);
}
template <class T>
void test_16_bits(int fraction_bits, int bias) {
  const Scratch x(2 << 16), wide(4 << 16), back(2 << 16);
  std::vector<uint16_t> bits(1 << 16);
  for (int i = 0; i < 1 << 16; ++i) bits[i] = static_cast<uint16_t>(i);
  copy_to_device(x.as<void>(), bits.data(), 2 << 16);
  launch(there_and_back<T>, {.grid = 256, .block = 256}, x.as<T>(), wide.as<float>(), back.as<T>());
  const auto floats = fetch<float>(wide, 1 << 16);
  const auto again = fetch<uint16_t>(back, 1 << 16);
  const int exponents = 1 << (15 - fraction_bits);
  for (int i = 0; i < 1 << 16; ++i) {
    const int e = (i & 0x7fff) >> fraction_bits, f = i & ((1 << fraction_bits) - 1);
    if (e == exponents - 1 && f != 0) {
      expect("a NaN of 16 bits", i, std::isnan(floats[i]), true);
      continue;
    }
    const double size = e == exponents - 1 ? INFINITY
                        : e == 0           ? std::ldexp(f, 1 - bias - fraction_bits)
                                           : std::ldexp((1 << fraction_bits) + f, e - bias - fraction_bits);
    expect("a number of 16 bits", i, floats[i], static_cast<float>(i < 0x8000 ? size : -size));
    expect("its way back", i, again[i], bits[i]);
  }
}

// --- clusters and the grid
__global__ void __launch_bounds__(64) groups(int* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  const cg::cluster_group cluster = cg::this_cluster();
  S2S_DYNAMIC_SHARED(int, mail);
  const int rank = static_cast<int>(cluster.block_rank()), n = static_cast<int>(cluster.num_blocks());
  cluster.sync();
  for (int r = 0; r < n; ++r)
    if (threadIdx.x == 0) cluster.map_shared_rank(mail, r)[rank] = 10 * r + rank;
  cluster.barrier_arrive();
  if (threadIdx.x == 0) out[blockIdx.x] = 0;
  cluster.barrier_wait();
  if (threadIdx.x == 0)
    for (int r = 0; r < n; ++r) out[blockIdx.x] += mail[r] * (r + 1);
  cg::this_grid().sync();
  if (threadIdx.x == 0 && blockIdx.x == 0)
    for (unsigned b = 0; b < gridDim.x; ++b) out[gridDim.x] += __ldcg(out + b);
#endif
}
void test_groups() {
  if (compute_capability() < 90) return;
  const Scratch out(4 * 9);
  check(cudaMemsetAsync(out.as<void>(), 0, 4 * 9, current_stream()));
  launch(groups, {.grid = 8, .block = 64, .shared = 16, .cluster = 4, .cooperative = true}, out.as<int>());
  const auto got = fetch<int>(out, 9);
  int total = 0;
  for (int b = 0; b < 8; ++b) {
    int want = 0;
    for (int r = 0; r < 4; ++r) want += (10 * (b % 4) + r) * (r + 1);
    expect("cluster", b, got[b], want);
    total += want;
  }
  expect("grid", 8, got[8], total);
}

// --- PTX
template <class T>
__global__ void __launch_bounds__(32) fragments(const T* a, const T* b, float* c) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  uint32_t fa[4], fb[2];
  for (int r = 0; r < 4; ++r)
    fa[r] = *reinterpret_cast<const uint32_t*>(a + (g + r % 2 * 8) * 16 + 2 * t + r / 2 * 8);
  for (int r = 0; r < 2; ++r) fb[r] = *reinterpret_cast<const uint32_t*>(b + g * 16 + 2 * t + r * 8);
  float sum[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  simt::mma_m16n8k16<T>(sum, fa, fb, sum);
  for (int e = 0; e < 4; ++e) c[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = sum[e];
}
template <class T>
void test_mma() {
  std::vector<T> a(16 * 16), b(8 * 16);
  for (int i = 0; i < 16 * 16; ++i) a[i] = T(static_cast<float>(i * 37 % 29 - 14) / 16.0f);
  for (int i = 0; i < 8 * 16; ++i) b[i] = T(static_cast<float>(i * 53 % 31 - 15) / 16.0f);
  Scratch da, db;
  const T *pa = upload(a.data(), 16 * 16, da), *pb = upload(b.data(), 8 * 16, db);
  const Scratch c(4 * 16 * 8);
  launch(fragments<T>, {.grid = 1, .block = 32}, pa, pb, c.as<float>());
  const auto got = fetch<float>(c, 16 * 8);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      float want = 1.0f + static_cast<float>(i / 8 * 2 + j % 2);  // all sums are exact
      for (int k = 0; k < 16; ++k)
        want += static_cast<float>(a[i * 16 + k]) * static_cast<float>(b[j * 16 + k]);
      expect("mma", i * 8 + j, got[i * 8 + j], want);
    }
}

template <bool TRANSPOSED>
__global__ void __launch_bounds__(32) matrices(uint32_t* out) {
  S2S_SHARED(uint4[32], rows);  // matrix m, row i: 8 elements 100 m + 10 i + j
  for (int j = 0; j < 8; ++j)
    reinterpret_cast<uint16_t*>(&rows[threadIdx.x])[j] =
        static_cast<uint16_t>(100 * (threadIdx.x / 8) + 10 * (threadIdx.x % 8) + j);
  __syncthreads();
  uint32_t r[4];
  simt::ldmatrix_x4<TRANSPOSED>(r, &rows[threadIdx.x]);
  for (int m = 0; m < 4; ++m) out[4 * threadIdx.x + m] = r[m];
}
template <bool TRANSPOSED>
void test_ldmatrix() {
  const Scratch out(4 * 32 * 4);
  launch(matrices<TRANSPOSED>, {.grid = 1, .block = 32}, out.as<uint32_t>());
  const auto got = fetch<uint32_t>(out, 32 * 4);
  for (int l = 0; l < 32; ++l)
    for (int m = 0; m < 4; ++m) {
      const int i = l / 4, j = l % 4 * 2;
      const uint32_t low = 100 * m + (TRANSPOSED ? 10 * j + i : 10 * i + j);
      expect("ldmatrix", 4 * l + m, got[4 * l + m], low | (low + (TRANSPOSED ? 10 : 1)) << 16);
    }
}

// Thread t copies t % 17 bytes, in two groups.
__global__ void __launch_bounds__(64) copies(const uint4* from, uint4* to) {
  S2S_SHARED(uint4[64], stage);
  simt::cp_async16(&stage[threadIdx.x], &from[threadIdx.x], static_cast<int>(threadIdx.x % 17));
  simt::cp_async_commit();
  simt::cp_async_commit();
  simt::cp_async_wait<1>();
  __syncthreads();
  to[threadIdx.x] = stage[63 - threadIdx.x];
}
void test_copies() {
  std::vector<uint8_t> bytes(64 * 16);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i % 251 + 1);
  Scratch from;
  const uint8_t* p = upload(bytes.data(), 64 * 16, from);
  const Scratch to(64 * 16);
  launch(copies, {.grid = 1, .block = 64}, reinterpret_cast<const uint4*>(p), to.as<uint4>());
  const auto got = fetch<uint8_t>(to, 64 * 16);
  for (int i = 0; i < 64 * 16; ++i) {
    const int t = 63 - i / 16;
    expect("cp.async", i, got[i], i % 16 < t % 17 ? bytes[t * 16 + i % 16] : uint8_t{0});
  }
}

// A chain of blocks, each waiting for the one before.
__global__ void __launch_bounds__(32) chain(unsigned* flag, unsigned* value) {
  if (threadIdx.x != 0) return;
  while (simt::load_acquire(flag) != blockIdx.x) simt::backoff();
  *value = *value * 3 + blockIdx.x;
  simt::store_release(flag, blockIdx.x + 1);
}
void test_hand_over() {
  const Scratch flag(4), value(4);
  check(cudaMemsetAsync(flag.as<void>(), 0, 4, current_stream()));
  check(cudaMemsetAsync(value.as<void>(), 0, 4, current_stream()));
  launch(chain, {.grid = 8, .block = 32, .cooperative = true}, flag.as<unsigned>(), value.as<unsigned>());
  unsigned want = 0;
  for (unsigned b = 0; b < 8; ++b) want = want * 3 + b;
  expect("hand-over", 0, fetch<unsigned>(value, 1)[0], want);
}

// --- launches that must be refused, and what the device is asked
__global__ void nothing() {}
void expect_refused(const char* what, const Launch& l) {
  try {
    launch(nothing, l);
  } catch (const std::runtime_error& e) {
    if (std::string(e.what()).rfind("[functions] CUDA: ", 0) != 0)
      std::printf("%s: %s\n", what, e.what()), ++wrong;
    return;
  }
  std::printf("%s: not refused\n", what);
  ++wrong;
}
void test_launches() {
#if !defined(__CUDACC__)
  const simt::Device before = simt::device();
  simt::device().multiprocessors = 2;  // ThreadSanitizer would take its time for more
  simt::device().blocks_per_multiprocessor = 1;
#endif
  launch(nothing, {.grid = 1, .block = 1});
  expect_refused("no blocks", {.grid = 0, .block = 32});
  expect_refused("2048 threads", {.grid = 1, .block = 2048});
  expect_refused("too much shared memory",
                 {.grid = 1, .block = 32, .shared = static_cast<size_t>(max_shared_per_block()) + 1});
  const unsigned fit = static_cast<unsigned>(multiprocessors() * max_active_blocks(nothing, 1024, 0));
  launch(nothing, {.grid = fit, .block = 1024, .cooperative = true});
  expect_refused("more blocks than fit", {.grid = fit + 1, .block = 1024, .cooperative = true});
  expect("no room for shared memory", 0, max_active_blocks(nothing, 32, 1 << 20), 0);
#if !defined(__CUDACC__)
  simt::device() = before;
#endif
  if (compute_capability() < 90) return;
  expect_refused("3 blocks in clusters of 2", {.grid = 3, .block = 32, .cluster = 2});
  expect("clusters fit", 0, max_active_clusters(nothing, {.grid = 8, .block = 32, .cluster = 8}) > 0, true);
}

// Several threads of the host launch at once, and see their own launches fail.
__global__ void __launch_bounds__(64) reverse(int* out) {
  S2S_SHARED(int[64], value);
  value[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = value[63 - threadIdx.x];
}
void test_threads() {
  int right[2] = {}, refused[2] = {};
  const auto work = [&](int id) {
    for (int i = 0; i < 50; ++i) {
      const Scratch out(4 * 64);
      try {
        launch(reverse, {.grid = 1, .block = i % 5 == id ? 2048 : 64}, out.as<int>());
        right[id] += fetch<int>(out, 64)[id] == 63 - id;
      } catch (const std::runtime_error&) {
        ++refused[id];
      }
    }
  };
  std::thread first(work, 0), second(work, 1);
  first.join();
  second.join();
  for (int id = 0; id < 2; ++id) {
    expect("a thread's launches", id, right[id], 40);
    expect("a thread's refused launches", id, refused[id], 10);
  }
}

#if !defined(__CUDACC__)
void test_emulated_device() {
  simt::Device& d = simt::device();
  const simt::Device before = d;
  d.capability = 80;
  d.multiprocessors = 4;
  d.shared_per_block = 163 * 1024;
  d.memory = 1000;
  expect("capability", 0, compute_capability(), 80);
  expect("multiprocessors", 0, multiprocessors(), 4);
  expect("blocks fit", 0, max_active_blocks(nothing, 256, 80 * 1024), 2);
  expect("no clusters", 0, max_active_clusters(nothing, {.grid = 8, .block = 32, .cluster = 8}), 0);
  expect_refused("a cluster", {.grid = 8, .block = 32, .cluster = 8});
  void* p = nullptr;
  expect("out of memory", 0, static_cast<int>(cudaMalloc(&p, 1001)),
         static_cast<int>(cudaErrorMemoryAllocation));
  expect("last error", 0, static_cast<int>(cudaGetLastError()), static_cast<int>(cudaErrorMemoryAllocation));
  expect("last error", 1, static_cast<int>(cudaGetLastError()), static_cast<int>(cudaSuccess));
  d = before;
  expect("bytes in use", 0, simt::live_device_bytes(), size_t{0});
  expect("no schedule", 0, s2s_simt_schedule("random"), false);
}
#endif

void test_all() {
  test_warps();
  test_blocks();
  test_numbers();
  test_16_bits<__half>(10, 15);
  test_16_bits<__nv_bfloat16>(7, 127);
  test_groups();
  test_mma<__half>();
  test_mma<__nv_bfloat16>();
  test_ldmatrix<false>();
  test_ldmatrix<true>();
  test_copies();
  test_hand_over();
  test_launches();
  test_threads();
#if !defined(__CUDACC__)
  test_emulated_device();
#endif
}

}  // namespace
}  // namespace s2s::cuda

int main(int count, char** words) {
#if defined(__CUDACC__)
  (void)count, (void)words;
  s2s::cuda::test_all();
#else
  for (int i = 1; i < count; ++i) {
    if (!s2s_simt_schedule(words[i])) return std::printf("no schedule: %s\n", words[i]), 2;
    s2s::cuda::test_all();
  }
#endif
  return s2s::cuda::wrong ? 1 : 0;
}

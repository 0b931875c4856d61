// Mistakes in a product of tiles: c [M, N] = a [M, K] b [N, K]^T on the tensor cores, operands copied by
// cp.async into two stages, one being filled while the other is used.
#include "bugs.h"

namespace s2s::cuda {
namespace {

enum class Tile { right, waits_too_little, transposed, overwritten };

constexpr int kM = 32, kN = 16, kK = 16;  // of a block's tile: one warp to 16 rows
constexpr int kPitch = kK + 8;            // elements; rows stay 16-byte aligned and spread over the banks
constexpr int kThreads = 64;

// rows x kK elements of x (pitch k) from column `from` on.
template <class T>
__device__ void fetch(T* stage, const T* x, int rows, int k, int from) {
  for (int i = threadIdx.x; i < rows * 2; i += kThreads)
    simt::cp_async16(stage + (i / 2) * kPitch + i % 2 * 8, x + (i / 2) * k + from + i % 2 * 8);
}

template <class T, Tile B>
__global__ void __launch_bounds__(kThreads) product(const T* a, const T* b, float* c, int k) {
  S2S_DYNAMIC_SHARED(T, stages);
  T* const stage_a[2] = {stages, stages + (kM + kN) * kPitch};
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  a += blockIdx.x * kM * k;
  float sum[2][4] = {};

  fetch(stage_a[0], a, kM, k, 0);
  fetch(stage_a[0] + kM * kPitch, b, kN, k, 0);
  simt::cp_async_commit();
  for (int i = 0; i < k; i += kK) {
    const int now = i / kK & 1;
    if (i + kK < k) {
      fetch(stage_a[1 - now], a, kM, k, i + kK);
      fetch(stage_a[1 - now] + kM * kPitch, b, kN, k, i + kK);
    }
    simt::cp_async_commit();  // perhaps of nothing: then the last but one is always the stage in use
    simt::cp_async_wait<B == Tile::waits_too_little ? 2 : 1>();
    __syncthreads();

    uint32_t fa[4], fb[4];
    simt::ldmatrix_x4<false>(fa, stage_a[now] + (16 * warp + lane % 16) * kPitch + lane / 16 * 8);
    // matrices 0, 1: columns 0 to 7 of c at k 0 and 8; 2, 3: columns 8 to 15
    simt::ldmatrix_x4<B == Tile::transposed>(
        fb, stage_a[now] + (kM + lane % 8 + lane / 16 * 8) * kPitch + lane / 8 % 2 * 8);
    for (int j = 0; j < 2; ++j) simt::mma_m16n8k16<T>(sum[j], fa, {fb[2 * j], fb[2 * j + 1]}, sum[j]);
    if (B != Tile::overwritten) __syncthreads();
  }

  for (int j = 0; j < 2; ++j)
    for (int e = 0; e < 4; ++e) {
      const int row = 16 * warp + lane / 4 + e / 2 * 8, column = 8 * j + lane % 4 * 2 + e % 2;
      c[(blockIdx.x * kM + row) * kN + column] = sum[j][e];
    }
}

template <class T, Tile B>
std::string multiply() {
  constexpr int M = 2 * kM, K = 5 * kK;
  std::vector<T> a(M * K), b(kN * K);
  std::vector<float> want(M * kN);
  for (int i = 0; i < M * K; ++i) a[i] = T(static_cast<float>(i * 37 % 29 - 14) / 16.0f);
  for (int i = 0; i < kN * K; ++i) b[i] = T(static_cast<float>(i * 53 % 31 - 15) / 16.0f);
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < kN; ++n)
      for (int k = 0; k < K; ++k)
        want[m * kN + n] += static_cast<float>(a[m * K + k]) * static_cast<float>(b[n * K + k]);
  const DeviceArray<T> da(a), db(b);
  const DeviceArray<float> c(M * kN);
  launch(product<T, B>, {.grid = 2, .block = kThreads, .shared = 2 * (kM + kN) * kPitch * sizeof(T)},
         da.data(), db.data(), c.data(), K);
  return expect(c.get(), want, 1e-4);
}

}  // namespace

const std::vector<Case> tile_cases = {
    {"cp_async_waits_too_little", multiply<__half, Tile::right>, multiply<__half, Tile::waits_too_little>},
    {"ldmatrix_transposed", multiply<__nv_bfloat16, Tile::right>, multiply<__nv_bfloat16, Tile::transposed>},
    {"stage_overwritten", multiply<__half, Tile::right>, multiply<__half, Tile::overwritten>},
};

}  // namespace s2s::cuda

// tile: the one inner loop of every matrix product. ROWS rows of a times one panel of packed b, in registers.
// Each element is a single chain of fma over k: its bits depend on k alone, whatever the number of rows.
#pragma once

#include "cpu/vec.h"

namespace s2s::S2S_ISA {
namespace {

// Vectors in a panel of a plain matrix. With 16 registers two leave room for six rows.
constexpr int kPanelVecs = kRegisters >= 32 ? 4 : 2;
constexpr int kPanelWidth = kPanelVecs * kLanes;

// Rows of a tile: the accumulators, the panel's vectors and one broadcast must fit the registers.
constexpr int max_rows(int vecs) {
  return (kRegisters - vecs - (kRegisters == 16)) / vecs;
}

// sum[r][v] = the product, summed over k in order. a[r][k] = a[r * row_stride + k * k_stride]; b: [K][VECS *
// kLanes].
template <int ROWS, int VECS>
S2S_INLINE void tile(const float* a, int64_t row_stride, int64_t k_stride, const float* b, int64_t K,
                     Vec (&sum)[ROWS][VECS]) {
  Vec local[ROWS][VECS] = {};  // an array of the caller's would be stored to memory at every k
  for (int64_t k = 0; k < K; ++k) {
    Vec column[VECS];
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) column[v] = load(b + v * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < ROWS; ++r) {
      const Vec x = splat(a[r * row_stride]);
#pragma GCC unroll 16
      for (int v = 0; v < VECS; ++v) local[r][v] = fma(x, column[v], local[r][v]);
    }
    a += k_stride;
    b += VECS * kLanes;
  }
#pragma GCC unroll 32
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) sum[r][v] = local[r][v];
  }
}

constexpr int64_t kBlockK = 256;  // part of a product's order: changing it changes bits

// The whole sum over k, by blocks of kBlockK. Rows of a lie a_row_stride apart; b is one panel [K][VECS *
// kLanes].
template <int ROWS, int VECS>
S2S_INLINE void product(const float* a, int64_t a_row_stride, const float* b, int64_t K,
                        Vec (&sum)[ROWS][VECS]) {
  tile<ROWS>(a, a_row_stride, 1, b, K < kBlockK ? K : kBlockK, sum);
  for (int64_t k = kBlockK; k < K; k += kBlockK) {
    Vec more[ROWS][VECS];
    tile<ROWS>(a + k, a_row_stride, 1, b + k * VECS * kLanes, K - k < kBlockK ? K - k : kBlockK, more);
    for (int r = 0; r < ROWS; ++r) {
      for (int v = 0; v < VECS; ++v) sum[r][v] = sum[r][v] + more[r][v];
    }
  }
}

template <int N>
struct Int {
  static constexpr int value = N;
};

// Calls f(Int<rows>) for 1 <= rows <= MAX.
template <int MAX, class F>
S2S_INLINE void with_rows(int rows, const F& f) {
  if constexpr (MAX > 1) {
    if (rows < MAX) return with_rows<MAX - 1>(rows, f);
  }
  f(Int<MAX>{});
}

// Cuts `rows` rows into tiles of nearly equal height, at most MAX, and calls f(Int<height>, first row) for
// each.
template <int MAX, class F>
S2S_INLINE void for_tiles(int64_t rows, const F& f) {
  const int64_t tiles = (rows + MAX - 1) / MAX;
  int64_t first = 0;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t next = rows * (i + 1) / tiles;
    with_rows<MAX>(static_cast<int>(next - first), [&](auto height) { f(height, first); });
    first = next;
  }
}

}  // namespace
}  // namespace s2s::S2S_ISA

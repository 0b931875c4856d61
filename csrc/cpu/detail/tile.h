// tile: the one inner loop of every matrix product. ROWS rows of a times one panel of packed b, in registers.
// Each element is a single chain of fma over k: its bits depend on k alone, whatever the number of rows.
#pragma once

#include "cpu/detail/weights.h"

namespace s2s::S2S_ISA {
namespace {

// Vectors in a panel of a plain matrix. With 16 registers two leave room for six rows.
constexpr int kPanelVecs = kRegisters >= 32 ? 4 : 2;
constexpr int kPanelWidth = kPanelVecs * kLanes;

// Rows of a tile: the accumulators, the panel's vectors and one broadcast must fit the registers.
constexpr int max_rows(int vecs) {
  return (kRegisters - vecs - (kRegisters == 16)) / vecs;
}
// The same for groups of neighbours in k, whose broadcast needs a register of its own.
constexpr int max_rows_grouped(int vecs) {
  return (kRegisters - vecs - 1 - (kRegisters == 16)) / vecs;
}

// sum[r][v] = the product, summed over k in order. a[r][k] = a[r * row_stride + k * k_stride]; b: [K][WIDTH *
// kLanes] of float, Half or BFloat, of which the first VECS vectors count. Of pairs, a and b have half as
// many k. CONTINUED: added to what `sum` holds.
template <int ROWS, int VECS, class Element, int WIDTH = VECS, bool CONTINUED = false, class Left>
S2S_INLINE void tile(const Left* a, int64_t row_stride, int64_t k_stride, const Element* b, int64_t K,
                     Vec (&sum)[ROWS][VECS]) {
  Vec local[ROWS][VECS] = {};  // an array of the caller's would be stored to memory at every k
  if constexpr (CONTINUED) {
#pragma GCC unroll 32
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < VECS; ++v) local[r][v] = sum[r][v];
    }
  }
  for (int64_t k = 0; k < K; k += kIsPair<Element> ? 2 : 1) {
    decltype(load(b)) column[VECS];
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) column[v] = load(b + v * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < ROWS; ++r) {
      const auto x = splat(a[r * row_stride]);
#pragma GCC unroll 16
      for (int v = 0; v < VECS; ++v) local[r][v] = fma(x, column[v], local[r][v]);
    }
    a += k_stride;
    b += WIDTH * kLanes;
  }
#pragma GCC unroll 32
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) sum[r][v] = local[r][v];
  }
}

constexpr int64_t kBlockK = 256;  // part of a product's order: changing it changes bits

// The same with int8 weights and quantised rows, in integers, `start` added. b: [groups][VECS *
// kLanes][kGroup].
template <int ROWS, int VECS>
S2S_INLINE void tile_int8(const Quantized* a, int64_t row_stride, const int8_t* b, int64_t groups,
                          const IntVec (&start)[VECS], IntVec (&sum)[ROWS][VECS]) {
  IntVec local[ROWS][VECS];
#pragma GCC unroll 32
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) local[r][v] = start[v];
  }
  for (int64_t k = 0; k < groups; ++k) {
    GroupVec column[VECS];
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) column[v] = load_group(b + v * kLanes * kGroup);
#pragma GCC unroll 32
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < VECS; ++v) local[r][v] = multiply_group(local[r][v], a + r * row_stride, column[v]);
    }
    a += kGroup;
    b += VECS * kLanes * kGroup;
  }
#pragma GCC unroll 32
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < VECS; ++v) sum[r][v] = local[r][v];
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

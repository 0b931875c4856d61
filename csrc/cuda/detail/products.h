// Which kernel makes a product of matrices: decided here, for matmul and project_topk alike.
//   up to few_rows_limit rows   few_rows.h   the weights are streamed once for every sixteen rows
//   more rows                   tile.h       float32 and int8
//                               tile_mma.h   float16 and bfloat16, the rows of a rounded to that type
//                               (float16:
//                                            infinity beyond 65504)
//   many rows, a large product  library.h    cuBLAS: all but int8, where there is one (cuda/cublas.h)
//
// The company of a row: sums of float32 have one order in few_rows.h and tile.h, and int8 is exact, so a
// row's bits do not depend on the other rows. They do where the rule above changes hands: float16 and
// bfloat16 beyond few_rows_limit (each side of it is consistent), and all types but int8 where cuBLAS takes
// over. S2S_CUBLAS=0 keeps it out.
#pragma once

#include "cuda/detail/few_rows.h"
#include "cuda/detail/tile.h"
#include "cuda/detail/tile_mma.h"

namespace s2s::cuda {

// A tile of 16-bit weights costs little beside reading them again, once there are enough columns to go round.
constexpr int64_t kManyColumns = 8192;

inline int64_t few_rows_limit(ComputeType type, int64_t N) {
  const bool narrow = type == ComputeType::float16 || type == ComputeType::bfloat16;
  return narrow && N >= kManyColumns ? kFewRows : 2 * kFewRows;
}

// Below it a launch of the library costs more than it gains.
constexpr int64_t kLibraryRows = 64;
constexpr int64_t kLibraryWork = int64_t{1} << 24;  // multiplications

inline bool wants_library(ComputeType type, int64_t M, int64_t N, int64_t K) {
  return type != ComputeType::int8 && M >= kLibraryRows && M * N >= kLibraryWork / (K > 0 ? K : 1);
}

// Rows of a block of few_rows.h: as many for each.
inline int few_rows_of_block(int64_t rows) {
  return static_cast<int>(ceil_div(rows, ceil_div(rows, kFewRows)));
}

// The largest tile for tensor cores of which there are enough to go round; `widest`: columns it may have.
template <class Element>
using SmallTile = TileMma<Element, 1, 4, 2, 2>;
template <class Element>
using MiddleTile = TileMma<Element, 2, 2, 2, 4>;
template <class Element>
using LargeTile = TileMma<Element, 2, 4, 4, 4>;

template <class Tile>
inline int64_t tiles_of(int64_t M, int64_t N) {
  return ceil_div(M, Tile::kRows) * ceil_div(N, Tile::kColumns);
}

template <class Element, class F>
inline void with_tile(int64_t M, int64_t N, int widest, const F& f) {
  const int64_t enough = multiprocessors();
  if (widest >= LargeTile<Element>::kColumns && tiles_of<LargeTile<Element>>(M, N) >= enough)
    return f(LargeTile<Element>{});
  if (M > SmallTile<Element>::kRows && tiles_of<MiddleTile<Element>>(M, N) >= enough)
    return f(MiddleTile<Element>{});
  return f(SmallTile<Element>{});
}

// The left operand as a tile wants it.
template <class Tile, class Element>
inline typename Tile::Left left_of(const Activations& a, const RoundedRows<Element>& rounded) {
  if constexpr (sizeof(Element) == 1)
    return {rounded.rows, row_pitch<Element>(a.K), 1, a.rows, static_cast<int>(row_pitch<Element>(a.K)), true,
            rounded.units};
  else
    return {rounded.rows, a.rows};
}
inline Tile<float>::Left left_of(const Activations& a) {
  return {a.data, a.row_stride, a.k_stride, a.rows, a.K, a.vectors, nullptr};
}

}  // namespace s2s::cuda

// The walk of a recurrence's step over its panels: products, and what a kernel makes of their sums.
//
// A kernel says the latter in kPieces pieces: finish(Int<piece>, row, unit, gate) takes the sums of a row and
// a vector of units in gate[GATES], where the pieces hand each other on what they will.
#pragma once

#include "cpu/detail/panel.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kPieces = 4;

template <class F>
S2S_INLINE void for_pieces(const F& f) {
  f(Int<0>{}), f(Int<1>{}), f(Int<2>{}), f(Int<3>{});
}

// One row times a panel, of whose k each piece takes a share: the sums that panel_product makes at once.
template <int VECS, class Element>
class RowProduct {
 public:
  [[gnu::always_inline]] RowProduct(const Rows<Element>& a, const void* panel, int64_t K)
      : a_(a), panel_(panel), K_(K) {
    if constexpr (kInt8) {
      for (int v = 0; v < VECS; ++v) sum_[0][v] = ColumnTail<VECS>(panel, K).start(v);
    }
  }

  [[gnu::always_inline]] void multiply(int piece) {
    const int64_t groups = kInt8 ? grouped(K_) / kGroup : K_, group = kInt8 ? kGroup : 1;
    const Range share = share_of(groups, piece, kPieces);
    const int64_t k = share.begin * group, count = share.end - share.begin;
    const Element* weights = static_cast<const Element*>(panel_) + k * VECS * kLanes;
    if constexpr (kInt8) {
      IntVec start[VECS];
      for (int v = 0; v < VECS; ++v) start[v] = sum_[0][v];
      tile_int8<1>(a_.data + k, a_.stride, weights, count, start, sum_);
    } else {
      tile<1, VECS, Element, VECS, true>(a_.data + k, a_.stride, 1, weights, count, sum_);
    }
  }

  [[gnu::always_inline]] void store(Vec (&gate)[VECS]) const {
    for (int v = 0; v < VECS; ++v) {
      if constexpr (kInt8) {
        gate[v] = ColumnTail<VECS>(panel_, K_).scaled(sum_[0][v], v, splat(a_.units[0]));
      } else {
        gate[v] = sum_[0][v];
      }
    }
  }

 private:
  static constexpr bool kInt8 = sizeof(Element) == 1;
  Rows<Element> a_;
  const void* panel_;
  int64_t K_;
  std::conditional_t<kInt8, IntVec, Vec> sum_[1][VECS] = {};
};

// A single row: its panels stream from a cache, and would wait where the gates' arithmetic fills the
// processor's schedulers. So each panel's is cut up and put between pieces of the product of the next.
template <int GATES, class Element, class F>
S2S_INLINE void walk_row(const Rows<Element>& h, const void* weights, ComputeType type, Range panels,
                         bool downward, int64_t K, const F& finish) {
  const int64_t step = downward ? -1 : 1;
  int64_t p = downward ? panels.end - 1 : panels.begin;
  Vec gate[GATES];
  const auto product_of = [&](int64_t at) {
    return RowProduct<GATES, Element>(h, panel_at(weights, at, type, K, GATES * kLanes), K);
  };
  auto product = product_of(p);
  for_pieces([&](auto piece) { product.multiply(decltype(piece)::value); });
  product.store(gate);
  for (int64_t left = panels.end - panels.begin; left > 1; --left, p += step) {
    product = product_of(p + step);
    for_pieces([&](auto piece) {
      finish(piece, 0, p * kLanes, gate);
      product.multiply(decltype(piece)::value);
    });
    product.store(gate);
  }
  for_pieces([&](auto piece) { finish(piece, 0, p * kLanes, gate); });
}

// Rows whose sums are finished together: the gates of one row wait for each other, those of many do not.
constexpr int64_t kTogether = 32;

// Many rows times a panel. What is done with the sums is compiled once, not for every number of rows.
template <int GATES, class Element, class F>
S2S_INLINE void walk_rows(const Rows<Element>& h, Range rows, const void* panel, int64_t K, int64_t unit,
                          const F& finish) {
  constexpr int kMost = rows_for<Element>(GATES) < 8 ? rows_for<Element>(GATES) : 8;
  Vec sum[kTogether][GATES];
  for (int64_t first = rows.begin; first < rows.end; first += kTogether) {
    const int64_t count = rows.end - first < kTogether ? rows.end - first : kTogether;
    for_tiles<kMost>(count, [&](auto height, int64_t row) {
      constexpr int ROWS = decltype(height)::value;
      panel_product<ROWS, GATES, Element>(h, first + row, panel, K,
                                          reinterpret_cast<Vec(&)[ROWS][GATES]>(sum[row]));
    });
    // First all but the end of all rows: one after the other each row would wait for its own.
    for (int r = 0; r < count; ++r) {
      for_pieces([&](auto piece) {
        if constexpr (decltype(piece)::value < kPieces - 1) finish(piece, first + r, unit, sum[r]);
      });
    }
    for (int r = 0; r < count; ++r) finish(Int<kPieces - 1>{}, first + r, unit, sum[r]);
  }
}

// One thread's share of h [rows, K] times all panels, from the last to the first if `downward`. Of many rows
// a thread takes some, so that no states go from core to core; of few, some panels of all.
template <int GATES, class Element, class F>
S2S_INLINE void walk_panels(const Rows<Element>& h, int64_t rows, const void* weights, ComputeType type,
                            int part, int parts, bool downward, int64_t K, const F& finish) {
  const int64_t panels = (K + kLanes - 1) / kLanes;
  const auto [own, range] = share_of_step(rows, panels, panel_bytes(type, K, GATES * kLanes), part, parts);
  // int8 products are bound by the cache only where one instruction multiplies four of them.
  if constexpr (sizeof(Element) != 1 || kGroup == 4) {
    if (rows == 1) return walk_row<GATES>(h, weights, type, range, downward, K, finish);
  }
  for (int64_t at = range.begin; at < range.end; ++at) {
    const int64_t p = downward ? range.begin + range.end - 1 - at : at;
    walk_rows<GATES>(h, own, panel_at(weights, p, type, K, GATES * kLanes), K, p * kLanes, finish);
  }
}

}  // namespace
}  // namespace s2s::S2S_ISA

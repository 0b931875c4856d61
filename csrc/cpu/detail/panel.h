// A packed matrix as panels, and a row block of the left operand times one of them, for every ComputeType.
// A panel is VECS vectors wide: [K][VECS * kLanes] floats or 16-bit numbers; [K / 2][VECS * kLanes] pairs of
// them; for int8 [K / kGroup][VECS * kLanes][kGroup], then per column the scale (float) and the compensation
// of kOffset (int32).
#pragma once

#include "core/threads.h"
#include "cpu/detail/pairs.h"
#include "cpu/detail/quantize.h"
#include "cpu/detail/tile.h"
#include "ops/matmul.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kColumnTail = 8;  // bytes of scale and compensation

S2S_INLINE int64_t grouped(int64_t K) {
  return (K + kGroup - 1) / kGroup * kGroup;
}

S2S_INLINE int64_t element_bytes(ComputeType type) {
  return type == ComputeType::float32 ? 4 : type == ComputeType::int8 ? 1 : 2;
}

S2S_INLINE int64_t panel_bytes(ComputeType type, int64_t K, int64_t width) {
  int64_t bytes = K * width * element_bytes(type);
  if (type == ComputeType::int8) bytes = (grouped(K) + kColumnTail) * width;
  if (type == ComputeType::bfloat16_pairs) bytes = (K + 1) / 2 * width * int64_t{sizeof(BPair)};
  return (bytes + 63) / 64 * 64;
}

// Panel p of a packed matrix whose panels are `width` wide.
S2S_INLINE const void* panel_at(const void* packed, int64_t p, ComputeType type, int64_t K, int64_t width) {
  return static_cast<const char*>(packed) + p * panel_bytes(type, K, width);
}

// Rows of the left operand: floats; quantised for int8, rounded for pairs.
template <class Element>
struct Rows {
  const float* data;
  int64_t stride;
};
template <>
struct Rows<int8_t> {
  const Quantized* data;
  int64_t stride;
  const float* units;  // what one unit of each row stands for
};

template <>
struct Rows<BPair> {
  const BPair* data;
  int64_t stride;
};

// What an int8 panel's weights are followed by.
template <int VECS>
struct ColumnTail {
  const float* scales;
  const int32_t* compensations;

  ColumnTail(const void* panel, int64_t K)
      : scales(reinterpret_cast<const float*>(static_cast<const int8_t*>(panel) + grouped(K) * kWidth)),
        compensations(reinterpret_cast<const int32_t*>(scales + kWidth)) {}

  [[gnu::always_inline]] IntVec start(int v) const { return load_ints(compensations + v * kLanes); }
  // unit: what one unit of the left operand stands for.
  [[gnu::always_inline]] Vec scaled(IntVec sum, int v, Vec unit) const {
    return to_float(sum) * load(scales + v * kLanes) * unit;
  }

 private:
  static constexpr int64_t kWidth = VECS * kLanes;
};

template <class Element>
constexpr int rows_for(int vecs) {
  return sizeof(Element) == 1 || kIsPair<Element> ? max_rows_grouped(vecs) : max_rows(vecs);
}

// Rows of floats as the left operand of a step, of which one thread reads `rows`; for pairs rounded into its
// `scratch`, narrow_bytes(rows.end, K).
template <class Element>
S2S_INLINE Rows<Element> step_operand(const float* a, int64_t stride, Range rows, int64_t K, void* scratch) {
  if constexpr (kIsPair<Element>) {
    round_rows(a, stride, rows, K, static_cast<Element*>(scratch), rounded_stride(K));
    return {static_cast<Element*>(scratch), rounded_stride(K)};
  } else {
    static_cast<void>(rows), static_cast<void>(K), static_cast<void>(scratch);
    return {a, stride};
  }
}

// Rows of floats as the left operand; for int8 quantised into `scratch`, narrow_bytes(rows, K).
template <class Element>
Rows<Element> left_operand(const float* a, int64_t stride, int64_t rows, int64_t K, float least_bound,
                           void* scratch) {
  if constexpr (sizeof(Element) == 1) {
    const int64_t q_stride = quantized_stride(K);
    Quantized* data = static_cast<Quantized*>(scratch);
    float* units = reinterpret_cast<float*>(data + rows * q_stride);
    parallel(rows * K < (1 << 17) ? 1 : 64, [&](int part, int parts) {
      const Range range = share_of(rows, part, parts);
      for (int64_t r = range.begin; r < range.end; ++r)
        units[r] = quantize_row(a + r * stride, K, least_bound, data + r * q_stride);
    });
    return {data, q_stride, units};
  } else {
    static_cast<void>(rows), static_cast<void>(K), static_cast<void>(least_bound), static_cast<void>(scratch);
    return {a, stride};
  }
}

// Whether each thread takes some of a time step's rows, instead of some of the columns of all: then no states
// go from core to core, but every core reads all weights. That takes less time than the products where there
// are so many rows that even memory shared by all keeps up, or fewer and a core's own cache holds the
// weights.
S2S_INLINE bool shares_rows(int64_t rows, int parts, int64_t weight_bytes) {
  return parts > 1 && rows >= (weight_bytes <= 1 << 20 ? 8 : 32) * parts;
}

// What one thread computes of a recurrence's step.
struct StepShare {
  Range rows, panels;
};

S2S_INLINE StepShare share_of_step(int64_t rows, int64_t panels, int64_t panel_bytes, int part, int parts) {
  if (shares_rows(rows, parts, panels * panel_bytes)) return {share_of(rows, part, parts), {0, panels}};
  return {{0, rows}, share_of(panels, part, parts)};
}

// sum = rows [row, row + ROWS) of a times the panel, of whose WIDTH vectors the first VECS count (int8: all).
// A function of its own: beside others' constants the accumulators would not stay in registers.
template <int ROWS, int VECS, class Element, int WIDTH = VECS>
[[gnu::noinline]] void panel_product(const Rows<Element>& a, int64_t row, const void* panel, int64_t K,
                                     Vec (&sum)[ROWS][VECS]) {
  if constexpr (sizeof(Element) == 1) {
    const ColumnTail<VECS> tail(panel, K);
    IntVec start[VECS], product[ROWS][VECS];
    for (int v = 0; v < VECS; ++v) start[v] = tail.start(v);
    tile_int8<ROWS>(a.data + row * a.stride, a.stride, static_cast<const int8_t*>(panel), grouped(K) / kGroup,
                    start, product);
    for (int r = 0; r < ROWS; ++r) {
      const Vec unit = splat(a.units[row + r]);
      for (int v = 0; v < VECS; ++v) sum[r][v] = tail.scaled(product[r][v], v, unit);
    }
  } else {
    tile<ROWS, VECS, Element, WIDTH>(a.data + row * a.stride, a.stride, 1, static_cast<const Element*>(panel),
                                     K, sum);
  }
}

// The same as matmul takes it, the sum cut into blocks of kBlockK.
template <int ROWS, int VECS, class Element>
S2S_INLINE void blocked_product(const Rows<Element>& a, int64_t row, const void* panel, int64_t K,
                                Vec (&sum)[ROWS][VECS]) {
  if constexpr (sizeof(Element) == 1) {
    panel_product<ROWS, VECS, Element>(a, row, panel, K, sum);
  } else {
    panel_product<ROWS, VECS, Element>(a, row, panel, K < kBlockK ? K : kBlockK, sum);
    for (int64_t k = kBlockK; k < K; k += kBlockK) {
      Vec more[ROWS][VECS];
      panel_product<ROWS, VECS, Element>({a.data + k, a.stride}, row,
                                         static_cast<const Element*>(panel) + k * VECS * kLanes,
                                         K - k < kBlockK ? K - k : kBlockK, more);
      for (int r = 0; r < ROWS; ++r) {
        for (int v = 0; v < VECS; ++v) sum[r][v] = sum[r][v] + more[r][v];
      }
    }
  }
}

}  // namespace
}  // namespace s2s::S2S_ISA

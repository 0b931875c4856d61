// Packed b lies in panels of a few vectors' width, so that the inner loop streams it. Work is split over
// panels, or over rows where there are few panels; K is cut into blocks that stay in the cache, but for int8.
#include "ops/matmul.h"

#include <cstring>
#include <type_traits>

#include "core/threads.h"
#include "cpu/detail/panel.h"
#include "cpu/table.h"
#include "math/exp.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kMaxRows = max_rows(kPanelVecs);
constexpr int64_t kBlockM = 16 * kMaxRows;  // rows of a that stay in the cache while a panel passes
// The same where they are copied, to a caller's stack of unknown size.
template <class Element>
constexpr int64_t kCopiedM = (kIsPair<Element> ? 8 : 4) * rows_for<Element>(kPanelVecs);

// Numbers in a block along k: as many bytes of each type of the left operand.
template <class Element>
constexpr int64_t kBlockDepth = kIsPair<Element> ? 2 * kBlockK : kBlockK;
// What holds them: pairs or single numbers.
template <class Element>
S2S_INLINE int64_t elements(int64_t depth) {
  return kIsPair<Element> ? (depth + 1) / 2 : depth;
}
constexpr int64_t kOwnRows = 192;  // rows from which each thread copies its own, not all for its own panels
constexpr int64_t kSerialWork = 1 << 17;  // multiplications below which a second thread does not pay

// A block of rows of a^T, whose columns lie far apart, side by side: out[k][row].
void copy_rows(const MatmulArgs& x, int64_t first, int64_t rows, int64_t k0, int64_t depth, float* out) {
  const float* a = x.a + first + k0 * x.a_k_stride;
  for (int64_t k = 0; k < depth; ++k)
    std::memcpy(out + k * rows, a + k * x.a_k_stride, static_cast<size_t>(rows) * 4);
}

#if defined(__AVX512BF16__)
// The same of rounded rows, as pairs: out[k / 2][row]. Rows so far apart that no processor guesses the next
// are asked for ahead.
constexpr int64_t kAhead = 16;

void copy_rows(const MatmulArgs& x, int64_t first, int64_t rows, int64_t k0, int64_t depth, BPair* out) {
  const uint16_t* a = x.rounded + first + k0 * x.a_k_stride;
  const auto row = [](const uint16_t* at, int lanes) -> NativeShorts {
    return (NativeShorts)_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << lanes) - 1u), at);
  };
  for (int64_t k = 0; k < depth; k += 2, a += 2 * x.a_k_stride, out += rows) {
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int lanes = lanes_left(rows, r);
      for (int64_t ahead : {kAhead, kAhead + 1}) __builtin_prefetch(a + ahead * x.a_k_stride + r);
      const NativeShorts odd = k + 1 < depth ? row(a + x.a_k_stride + r, lanes) : NativeShorts{};
      store_pairs(out + r, row(a + r, lanes), odd, lanes);
    }
  }
}
#endif

// Asks for what finish_tile will read and write, while the product is made.
template <int ROWS>
S2S_INLINE void prefetch_tile(const MatmulArgs& x, int64_t row, int64_t column) {
  constexpr int64_t kLine = 16;  // floats
  for (int r = 0; r < ROWS; ++r) {
    for (int64_t n = column; n < column + kPanelWidth; n += kLine)
      __builtin_prefetch(x.c + (row + r) * x.c_stride + n, 1);
  }
}

// A product along k from `k0` on is added to what c has, the first piece to what the caller wants.
template <int ROWS, int VECS>
void finish_tile(const MatmulArgs& x, int64_t row, int64_t column, int64_t k0, bool last,
                 Vec (&sum)[ROWS][VECS]) {
  for (int v = 0; v < VECS; ++v) {
    const int64_t n = column + v * kLanes;
    if (n >= x.n) return;
    const int lanes = lanes_left(x.n, n);
    float* c = x.c + row * x.c_stride + n;
    Vec value[ROWS];
    // A loop for each, so that what stands in one does not hold up the others.
    for (int r = 0; r < ROWS; ++r) value[r] = sum[r][v];
    if (k0 == 0 && x.table.rows) {
      const auto at = [&](int r) { return x.table.rows + x.table.index[row + r] * x.table.stride + n; };
      for (int r = 0; r < ROWS; ++r) value[r] = load(at(r), lanes) + value[r];
    } else if (k0 > 0 || x.accumulate) {
      for (int r = 0; r < ROWS; ++r) value[r] = load(c + r * x.c_stride, lanes) + value[r];
    }
    if (last && x.bias) {
      const Vec bias = load(x.bias + n, lanes);
      for (int r = 0; r < ROWS; ++r) value[r] = value[r] + bias;
    }
    if (last && x.activation == Activation::tanh) {
      for (int r = 0; r < ROWS; ++r) value[r] = math::tanh(value[r]);
    }
    for (int r = 0; r < ROWS; ++r) store(c + r * x.c_stride, value[r], lanes);
  }
}

// Where panel p's rows from k0 on lie.
template <class Element>
S2S_INLINE const Element* panel_from(const MatmulArgs& x, int64_t p, int64_t k0) {
  return static_cast<const Element*>(panel_at(x.b, p, x.type, x.k, kPanelWidth)) +
         elements<Element>(k0) * kPanelWidth;
}

// Rows [m0, m1) of `all` by panels [p0, p1).
template <class Element>
void multiply(const MatmulArgs& x, const Rows<Element>& all, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
  for (int64_t k0 = 0; k0 < x.k || k0 == 0; k0 += kBlockDepth<Element>) {
    const int64_t depth = x.k - k0 < kBlockDepth<Element> ? x.k - k0 : kBlockDepth<Element>;
    const bool last = k0 + depth >= x.k;
    for (int64_t first = m0; first < m1; first += kBlockM) {
      const int64_t rows = m1 - first < kBlockM ? m1 - first : kBlockM;
      const Rows<Element> a{all.data + first * all.stride + elements<Element>(k0), all.stride};
      for (int64_t p = p0; p < p1; ++p) {
        const Element* panel = panel_from<Element>(x, p, k0);
        const auto tiles = [&](auto vectors) {
          constexpr int kVecs = decltype(vectors)::value;
          for_tiles<rows_for<Element>(kPanelVecs)>(rows, [&](auto height, int64_t row) {
            constexpr int kRows = decltype(height)::value;
            Vec sum[kRows][kVecs];
            prefetch_tile<kRows>(x, first + row, p * kPanelWidth);
            panel_product<kRows, kVecs, Element, kPanelVecs>(a, row, panel, depth, sum);
            finish_tile(x, first + row, p * kPanelWidth, k0, last, sum);
          });
        };
        // The few columns of a gate or a distribution fill one vector.
        x.n - p* kPanelWidth <= kLanes ? tiles(Int<1>{}) : tiles(Int<kPanelVecs>{});
      }
    }
  }
}

// The same for a whose k lie apart: its rows are copied first.
template <class Element>
void multiply_copied(const MatmulArgs& x, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
  alignas(64) Element copied[kCopiedM<Element> * kBlockK];
  for (int64_t k0 = 0; k0 < x.k || k0 == 0; k0 += kBlockDepth<Element>) {
    const int64_t depth = x.k - k0 < kBlockDepth<Element> ? x.k - k0 : kBlockDepth<Element>;
    const bool last = k0 + depth >= x.k;
    for (int64_t first = m0; first < m1; first += kCopiedM<Element>) {
      const int64_t rows = m1 - first < kCopiedM<Element> ? m1 - first : kCopiedM<Element>;
      copy_rows(x, first, rows, k0, depth, copied);
      for (int64_t p = p0; p < p1; ++p) {
        const Element* panel = panel_from<Element>(x, p, k0);
        for_tiles<rows_for<Element>(kPanelVecs)>(rows, [&](auto height, int64_t row) {
          constexpr int H = decltype(height)::value;
          Vec sum[H][kPanelVecs];
          prefetch_tile<H>(x, first + row, p * kPanelWidth);
          tile<H, kPanelVecs, Element>(copied + row, 1, rows, panel, depth, sum);
          finish_tile(x, first + row, p * kPanelWidth, k0, last, sum);
        });
      }
    }
  }
}

// int8, rows [m0, m1) of the quantised a by panels [p0, p1): sums of integers need no blocks.
void multiply_int8(const MatmulArgs& x, const Rows<int8_t>& a, int64_t m0, int64_t m1, int64_t p0,
                   int64_t p1) {
  for (int64_t p = p0; p < p1; ++p) {
    const void* panel = panel_at(x.b, p, x.type, x.k, kPanelWidth);
    for_tiles<max_rows_grouped(kPanelVecs)>(m1 - m0, [&](auto height, int64_t row) {
      Vec sum[decltype(height)::value][kPanelVecs];
      panel_product<decltype(height)::value, kPanelVecs, int8_t>(a, m0 + row, panel, x.k, sum);
      finish_tile(x, m0 + row, p * kPanelWidth, 0, true, sum);
    });
  }
}

template <class Element>
Rows<Element> rows_of(const MatmulArgs& x) {
  if constexpr (kIsPair<Element>) {
    return {reinterpret_cast<const BPair*>(x.rounded), x.a_row_stride / 2};
  } else {
    return {x.a, x.a_row_stride};
  }
}

// Calls f(m0, m1, p0, p1) for one part's rows and panels, for each time step's where there are such.
template <class F>
void share(const MatmulArgs& x, int part, int parts, const F& f) {
  const int64_t panels = (x.n + kPanelWidth - 1) / kPanelWidth;
  const int64_t tiles = (x.m + kMaxRows - 1) / kMaxRows;
  if (shares_rows(x.step_rows, parts, panels * panel_bytes(x.type, x.k, kPanelWidth))) {
    const Range own = share_of(x.step_rows, part, parts);
    for (int64_t step = 0; step < x.m; step += x.step_rows) f(step + own.begin, step + own.end, 0, panels);
    return;
  }
  const bool copies = x.a_row_stride == 1 && x.m >= kOwnRows * parts;
  if (!copies && (panels >= 4 * parts || panels * 2 >= tiles)) {
    const Range p = share_of(panels, part, parts);
    f(0, x.m, p.begin, p.end);
  } else {
    const Range m = share_of(x.m, part, parts);
    f(m.begin, m.end, 0, panels);
  }
}

}  // namespace

void matmul(const MatmulArgs& x) {
  const int max_parts = x.m * x.n * x.k < kSerialWork ? 1 : 64;
  if (x.type == ComputeType::int8) {
    const auto a = left_operand<int8_t>(x.a, x.a_row_stride, x.m, x.k, x.least_bound, x.scratch);
    return parallel(max_parts, [&](int part, int parts) {
      share(x, part, parts,
            [&](int64_t m0, int64_t m1, int64_t p0, int64_t p1) { multiply_int8(x, a, m0, m1, p0, p1); });
    });
  }
  const auto as = [&](auto* element) {
    using Element = element_of<decltype(element)>;
    if constexpr (std::is_same_v<Element, float> || kIsPair<Element>) {
      const auto copied = [&](int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
        multiply_copied<Element>(x, m0, m1, p0, p1);
      };
      if (x.a_row_stride == 1)
        return parallel(max_parts, [&](int part, int parts) { share(x, part, parts, copied); });
    }
    if constexpr (sizeof(Element) > 1) {
      const Rows<Element> a = rows_of<Element>(x);
      parallel(max_parts, [&](int part, int parts) {
        share(x, part, parts,
              [&](int64_t m0, int64_t m1, int64_t p0, int64_t p1) { multiply(x, a, m0, m1, p0, p1); });
      });
    }
  };
  with_any_element(x.type, as);
}

}  // namespace s2s::S2S_ISA

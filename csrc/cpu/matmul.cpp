// Packed b lies in panels of a few vectors' width, each [K][width] without gaps, so that the inner loop
// streams it. Work is split over panels, or over rows where there are few panels; K is cut into blocks of
// kBlockK that stay in the cache.
#include "ops/matmul.h"

#include "core/threads.h"
#include "cpu/detail/tile.h"
#include "cpu/table.h"
#include "math/exp.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kMaxRows = max_rows(kPanelVecs);
constexpr int64_t kBlockM = 16 * kMaxRows;  // rows of a that stay in the cache while a panel passes
constexpr int64_t kCopiedM =
    4 * kMaxRows;  // the same where they are copied, to a caller's stack of unknown size
constexpr int64_t kSerialWork = 1 << 17;  // multiplications below which a second thread does not pay

int64_t vecs_of(const PackShape& s) {
  return s.gates ? s.gates : kPanelVecs;
}

int64_t panels_of(const PackShape& s) {
  const int64_t per_panel = s.gates ? kLanes : kPanelWidth;
  const int64_t columns = s.gates ? s.n / s.gates : s.n;
  return (columns + per_panel - 1) / per_panel;
}

// A block of rows of a, copied so that the rows of a tile lie side by side: for a^T, whose columns lie far
// apart.
void pack_rows(const MatmulArgs& x, int64_t first, int64_t rows, int64_t k0, int64_t depth, float* out) {
  for_tiles<kMaxRows>(rows, [&](auto height, int64_t row) {
    constexpr int H = decltype(height)::value;
    const float* a = x.a + (first + row) * x.a_row_stride + k0 * x.a_k_stride;
    float* to = out + row * depth;
    for (int64_t k = 0; k < depth; ++k) {
      for (int r = 0; r < H; ++r) to[k * H + r] = a[k * x.a_k_stride + r * x.a_row_stride];
    }
  });
}

template <int ROWS>
void finish_tile(const MatmulArgs& x, int64_t row, int64_t column, bool add, bool last,
                 Vec (&sum)[ROWS][kPanelVecs]) {
  for (int v = 0; v < kPanelVecs; ++v) {
    const int64_t n = column + v * kLanes;
    if (n >= x.n) return;
    const int lanes = lanes_left(x.n, n);
    const Vec bias = last && x.bias ? load(x.bias + n, lanes) : splat(0.0f);
    for (int r = 0; r < ROWS; ++r) {
      float* c = x.c + (row + r) * x.c_stride + n;
      Vec value = sum[r][v];
      if (add) value = load(c, lanes) + value;
      if (last) {
        if (x.bias) value = value + bias;
        if (x.activation == Activation::tanh) value = math::tanh(value);
      }
      store(c, value, lanes);
    }
  }
}

// Rows [m0, m1) by panels [p0, p1).
void multiply(const MatmulArgs& x, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
  const bool copy_rows = x.a_k_stride != 1;
  const int64_t block = copy_rows ? kCopiedM : kBlockM;
  alignas(64) float copied[kCopiedM * kBlockK];
  for (int64_t k0 = 0; k0 < x.k || k0 == 0; k0 += kBlockK) {
    const int64_t depth = x.k - k0 < kBlockK ? x.k - k0 : kBlockK;
    const bool add = x.accumulate || k0 > 0;
    const bool last = k0 + depth >= x.k;
    for (int64_t first = m0; first < m1; first += block) {
      const int64_t rows = m1 - first < block ? m1 - first : block;
      if (copy_rows) pack_rows(x, first, rows, k0, depth, copied);
      for (int64_t p = p0; p < p1; ++p) {
        const float* panel = x.b + (p * x.k + k0) * kPanelWidth;
        for_tiles<kMaxRows>(rows, [&](auto height, int64_t row) {
          constexpr int H = decltype(height)::value;
          Vec sum[H][kPanelVecs];
          if (copy_rows) {
            tile<H>(copied + row * depth, 1, H, panel, depth, sum);
          } else {
            tile<H>(x.a + (first + row) * x.a_row_stride + k0, x.a_row_stride, 1, panel, depth, sum);
          }
          finish_tile(x, first + row, p * kPanelWidth, add, last, sum);
        });
      }
    }
  }
}

}  // namespace

int64_t packed_size(const PackShape& s) {
  return panels_of(s) * s.k * vecs_of(s) * kLanes;
}

void pack(const PackArgs& args) {
  const PackShape& s = args.shape;
  const int64_t vecs = vecs_of(s), width = vecs * kLanes, panels = panels_of(s);
  const int64_t unit = s.gates ? s.n / s.gates : 0;
  const auto pack_panels = [&](int part, int parts) {
    const Range range = share_of(panels, part, parts);
    for (int64_t p = range.begin; p < range.end; ++p) {
      for (int64_t v = 0; v < vecs; ++v) {
        // The columns of b that this vector holds: kLanes in a row, or as many units of one gate.
        const int64_t first = s.gates ? v * unit + p * kLanes : (p * vecs + v) * kLanes;
        const int64_t limit = s.gates ? (v + 1) * unit : s.n;
        const int64_t lanes = first >= limit ? 0 : lanes_left(limit, first);
        const float* from = args.source + first * args.n_stride;
        float* to = args.packed + p * s.k * width + v * kLanes;
        for (int64_t k0 = 0; k0 < s.k;
             k0 += 16) {  // blocks of 16: source rows and packed rows both stay in the cache
          const int64_t k1 = k0 + 16 < s.k ? k0 + 16 : s.k;
          for (int64_t k = k0; k < k1; ++k) {
            for (int64_t j = 0; j < lanes; ++j)
              to[k * width + j] = from[k * args.k_stride + j * args.n_stride];
            for (int64_t j = lanes; j < kLanes; ++j) to[k * width + j] = 0.0f;
          }
        }
      }
    }
  };
  parallel(s.k * s.n < kSerialWork ? 1 : 64, pack_panels);
}

void matmul(const MatmulArgs& x) {
  const int64_t panels = (x.n + kPanelWidth - 1) / kPanelWidth;
  const bool serial = x.m * x.n * x.k < kSerialWork;
  parallel(serial ? 1 : 64, [&](int part, int parts) {
    const int64_t tiles = (x.m + kMaxRows - 1) / kMaxRows;
    if (panels >= 4 * parts || panels * 2 >= tiles) {
      const Range p = share_of(panels, part, parts);
      multiply(x, 0, x.m, p.begin, p.end);
    } else {
      const Range m = share_of(x.m, part, parts);
      multiply(x, m.begin, m.end, 0, panels);
    }
  });
}

}  // namespace s2s::S2S_ISA

// Panels of the result are split over threads.
#include "ops/pack_columns.h"

#include "core/threads.h"
#include "cpu/detail/tile.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kBlockRows = 64;  // of a panel, so that neighbouring columns find their cache lines again
constexpr int64_t kSerialWork = 1 << 15;

void one_panel(const PackColumnsArgs& x, int64_t panel) {
  const int64_t K = x.shape.k, first = panel * kPanelWidth;
  const int64_t width = x.count - first < kPanelWidth ? x.count - first : kPanelWidth;
  float* to = x.packed + first * K;
  for (int64_t k0 = 0; k0 < K; k0 += kBlockRows) {
    const int64_t k1 = K - k0 < kBlockRows ? K : k0 + kBlockRows;
    for (int64_t j = 0; j < kPanelWidth; ++j) {
      const int64_t column = j < width ? x.columns[first + j] : 0;
      const float* from = x.whole + column / kPanelWidth * kPanelWidth * K + column % kPanelWidth;
      for (int64_t k = k0; k < k1; ++k) to[k * kPanelWidth + j] = j < width ? from[k * kPanelWidth] : 0.0f;
    }
  }
}

}  // namespace

void pack_columns(const PackColumnsArgs& x) {
  const int64_t panels = (x.count + kPanelWidth - 1) / kPanelWidth;
  parallel(x.count * x.shape.k < kSerialWork ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(panels, part, parts);
    for (int64_t p = range.begin; p < range.end; ++p) one_panel(x, p);
  });
}

}  // namespace s2s::S2S_ISA

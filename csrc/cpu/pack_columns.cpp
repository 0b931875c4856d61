// Panels of the result are split over threads.
#include "ops/pack_columns.h"

#include "core/threads.h"
#include "cpu/detail/panel.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kSerialWork = 1 << 15;

// int8: what is multiplied at once is moved at once.
struct Group {
  int8_t weights[kGroup];
};

// One panel's `rows` rows of Units that begin `offset` bytes from a panel's beginning. Columns of one panel
// of the whole are taken together, so that it is read in the order of the memory.
template <class Unit>
void copy_columns(const PackColumnsArgs& x, int64_t panel, int64_t offset, int64_t rows) {
  const int64_t bytes = panel_bytes(x.shape.type, x.shape.k, kPanelWidth), first = panel * kPanelWidth;
  const int64_t width = x.count - first < kPanelWidth ? x.count - first : kPanelWidth;
  Unit* to = reinterpret_cast<Unit*>(static_cast<char*>(x.packed) + panel * bytes + offset);
  for (int64_t begin = 0, end = 0; begin < width; begin = end) {
    const int64_t source = x.columns[first + begin] / kPanelWidth;
    int64_t lane[kPanelWidth];
    for (; end < width && x.columns[first + end] / kPanelWidth == source; ++end)
      lane[end] = x.columns[first + end] % kPanelWidth;
    const Unit* from =
        reinterpret_cast<const Unit*>(static_cast<const char*>(x.whole) + source * bytes + offset);
    for (int64_t k = 0; k < rows; ++k) {
      for (int64_t j = begin; j < end; ++j) to[k * kPanelWidth + j] = from[k * kPanelWidth + lane[j]];
    }
  }
  for (int64_t k = 0; k < rows; ++k) {
    for (int64_t j = width; j < kPanelWidth; ++j) to[k * kPanelWidth + j] = Unit{};
  }
}

void one_panel(const PackColumnsArgs& x, int64_t panel) {
  switch (x.shape.type) {
    case ComputeType::float32:
      return copy_columns<float>(x, panel, 0, x.shape.k);
    case ComputeType::float16:
    case ComputeType::bfloat16:
      return copy_columns<uint16_t>(x, panel, 0, x.shape.k);
    case ComputeType::bfloat16_pairs:  // training takes no columns
      return;
    case ComputeType::int8:
      copy_columns<Group>(x, panel, 0, grouped(x.shape.k) / kGroup);
      // the scales and compensations
      return copy_columns<int32_t>(x, panel, grouped(x.shape.k) * kPanelWidth, 2);
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

// Panels of the result are split over threads.
#include "ops/pack_columns.h"

#include "core/threads.h"
#include "cpu/detail/panel.h"
#include "cpu/table.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kBlockRows = 64;  // of a panel, so that neighbouring columns find their cache lines again
constexpr int64_t kSerialWork = 1 << 15;

// A column of `rows` units of Unit from panel to panel; `from` null: zeros.
template <class Unit>
void copy_column(const Unit* from, Unit* to, int64_t rows) {
  for (int64_t k = 0; k < rows; ++k) to[k * kPanelWidth] = from ? from[k * kPanelWidth] : Unit{};
}

// int8: what is multiplied at once is moved at once.
struct Group {
  int8_t weights[kGroup];
};
struct Word {
  int32_t bits;
};

template <class Unit>
void one_panel(const PackColumnsArgs& x, int64_t panel, int64_t rows) {
  const int64_t bytes = panel_bytes(x.shape.type, x.shape.k, kPanelWidth), first = panel * kPanelWidth;
  Unit* to = reinterpret_cast<Unit*>(static_cast<char*>(x.packed) + panel * bytes);
  for (int64_t k = 0; k < rows; k += kBlockRows) {
    const int64_t block = rows - k < kBlockRows ? rows - k : kBlockRows;
    for (int64_t j = 0; j < kPanelWidth; ++j) {
      const int64_t column = first + j < x.count ? x.columns[first + j] : -1;
      const Unit* from = column < 0 ? nullptr
                                    : reinterpret_cast<const Unit*>(static_cast<const char*>(x.whole) +
                                                                    column / kPanelWidth * bytes) +
                                          k * kPanelWidth + column % kPanelWidth;
      copy_column(from, to + k * kPanelWidth + j, block);
    }
  }
}

// Scales and compensations.
void one_tail(const PackColumnsArgs& x, int64_t panel) {
  const int64_t bytes = panel_bytes(x.shape.type, x.shape.k, kPanelWidth),
                at = grouped(x.shape.k) * kPanelWidth;
  Word* to = reinterpret_cast<Word*>(static_cast<char*>(x.packed) + panel * bytes + at);
  for (int64_t j = 0; j < kPanelWidth; ++j) {
    const int64_t i = panel * kPanelWidth + j, column = i < x.count ? x.columns[i] : -1;
    const Word* from = column < 0 ? nullptr
                                  : reinterpret_cast<const Word*>(static_cast<const char*>(x.whole) +
                                                                  column / kPanelWidth * bytes + at) +
                                        column % kPanelWidth;
    copy_column(from, to + j, 2);
  }
}

void one_panel(const PackColumnsArgs& x, int64_t panel) {
  switch (x.shape.type) {
    case ComputeType::float32:
      return one_panel<float>(x, panel, x.shape.k);
    case ComputeType::float16:
    case ComputeType::bfloat16:
      return one_panel<uint16_t>(x, panel, x.shape.k);
    case ComputeType::int8:
      one_panel<Group>(x, panel, grouped(x.shape.k) / kGroup);
      return one_tail(x, panel);
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

// What the recurrent kernels share: walking the steps of a ragged batch, and where a row's state goes next.
#pragma once

#include <cstring>

#include "core/threads.h"
#include "cpu/detail/panel.h"
#include "ops/lstm.h"

namespace s2s::S2S_ISA {
namespace {

// The time step that is computed in place `index` of the walk.
S2S_INLINE int64_t step_at(const SequenceShape& s, int64_t index) {
  return s.reverse ? s.steps - 1 - index : index;
}

// Rows of time step t; of none, for t = -1.
S2S_INLINE int64_t running_at(const SequenceShape& s, int64_t t) {
  return t < 0 ? 0 : s.batch_sizes[t];
}

// Where the state after step t of sequence i is read next: a row of h_prev, or nullptr after the sequence's
// end.
S2S_INLINE float* next_row(const SequenceShape& s, float* states, int64_t t, int64_t i) {
  if (s.reverse) return t > 0 ? states + (s.offsets[t - 1] + i) * s.hidden : nullptr;
  return t + 1 < s.steps && i < s.batch_sizes[t + 1] ? states + (s.offsets[t + 1] + i) * s.hidden : nullptr;
}

// Puts the initial states where the first step of each sequence reads them.
S2S_INLINE void place_initial(const SequenceShape& s, const float* initial, float* states) {
  for (int64_t t = 0; t < s.steps; ++t) {
    const int64_t begin = !s.reverse ? 0 : t + 1 < s.steps ? s.batch_sizes[t + 1] : 0;
    const int64_t end = !s.reverse && t > 0 ? 0 : s.batch_sizes[t];
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(states + (s.offsets[t] + i) * s.hidden, initial + i * s.hidden,
                  static_cast<size_t>(s.hidden) * 4);
    }
  }
}

// How training packs a recurrent weight; the bytes of one of its panels; panel p.
template <class Element>
constexpr ComputeType kTrainingType = kIsPair<Element> ? ComputeType::bfloat16_pairs : ComputeType::float32;
template <class Element>
S2S_INLINE int64_t training_panel_bytes(int64_t K, int64_t width) {
  return panel_bytes(kTrainingType<Element>, K, width);
}
template <class Element>
S2S_INLINE const void* training_panel(const void* packed, int64_t p, int64_t K, int64_t width) {
  return panel_at(packed, p, kTrainingType<Element>, K, width);
}

// A thread's share of a step of `rows` forward, whose panels are a vector of units wide.
template <class Element>
S2S_INLINE StepShare forward_share(int64_t rows, int64_t hidden, int gates, int part, int parts) {
  const int64_t panels = (hidden + kLanes - 1) / kLanes;
  return share_of_step(rows, panels, training_panel_bytes<Element>(hidden, gates * kLanes), part, parts);
}

// A thread's share of place `index` of a walk back, where the product of the step before it in the walk is
// followed by the gates' gradients of its own step, without a meeting in between: so a row is one thread's
// in both. depth: of the product.
struct BackwardShare {
  Range product_rows, gate_rows, panels, units;
};

template <class Element>
S2S_INLINE BackwardShare backward_share(int64_t product_rows, int64_t gate_rows, int64_t hidden,
                                        int64_t depth, int part, int parts) {
  const int64_t rows = product_rows > gate_rows ? product_rows : gate_rows;
  const int64_t panels = (hidden + kPanelWidth - 1) / kPanelWidth;
  const StepShare share =
      share_of_step(rows, panels, training_panel_bytes<Element>(depth, kPanelWidth), part, parts);
  const auto below = [](Range range, int64_t end) {
    return Range{range.begin < end ? range.begin : end, range.end < end ? range.end : end};
  };
  return {below(share.rows, product_rows), below(share.rows, gate_rows), share.panels,
          below({share.panels.begin * kPanelWidth, share.panels.end * kPanelWidth}, hidden)};
}

// out [rows, hidden] = or += a [rows, depth] times the panels in `range` of packed b [depth, hidden].
template <bool ADD, class Element>
void add_product(const Rows<Element>& a, int64_t depth, const float* b, Range rows, Range range,
                 int64_t hidden, float* out) {
  for (int64_t p = range.begin; p < range.end; ++p) {
    const void* panel = training_panel<Element>(b, p, depth, kPanelWidth);
    for_tiles<rows_for<Element>(kPanelVecs)>(rows.end - rows.begin, [&](auto height, int64_t tile) {
      constexpr int ROWS = decltype(height)::value;
      const int64_t row = rows.begin + tile;
      Vec sum[ROWS][kPanelVecs];
      panel_product<ROWS, kPanelVecs, Element>(a, row, panel, depth, sum);
      for (int v = 0; v < kPanelVecs; ++v) {
        const int64_t unit = p * kPanelWidth + v * kLanes;
        if (unit >= hidden) return;
        const int lanes = lanes_left(hidden, unit);
        for (int r = 0; r < ROWS; ++r) {
          float* to = out + (row + r) * hidden + unit;
          store(to, ADD ? load(to, lanes) + sum[r][v] : sum[r][v], lanes);
        }
      }
    });
  }
}

// Threads for a recurrence: a step's products and a hand-over of about a third of a microsecond must pay.
S2S_INLINE int recurrent_parts(int64_t multiplications_per_step, int64_t panels, ComputeType type) {
  if (multiplications_per_step < (type == ComputeType::int8 ? 200000 : 60000)) return 1;
  return panels < 64 ? static_cast<int>(panels) : 64;
}
S2S_INLINE int recurrent_parts(int64_t multiplications_per_step, int64_t panels,
                               const StepProducts& products) {
  const int parts = recurrent_parts(multiplications_per_step, panels, products.type);
  return parts < products.parts ? parts : products.parts;
}

}  // namespace
}  // namespace s2s::S2S_ISA

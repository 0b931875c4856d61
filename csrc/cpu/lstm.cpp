// Split by units: each thread computes all four gates of its own units for every row, streaming its own
// panels of W_hh, and meets the others once per step, when h is complete. Where there are many
// rows each thread takes some of them with all units instead.
#include "ops/lstm.h"

#include "cpu/detail/panel.h"
#include "cpu/detail/sequence.h"
#include "cpu/table.h"
#include "math/gates.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kGates = 4;

template <int ROWS>
void finish_rows(const LstmArgs& x, int64_t t, int64_t row, int64_t unit, Vec (&sum)[ROWS][kGates]) {
  const SequenceShape& s = x.shape;
  const int lanes = lanes_left(s.hidden, unit);
  for (int r = 0; r < ROWS; ++r) {
    const int64_t i = row + r, at = s.offsets[t] + i;
    float* gates = x.gates + at * kGates * s.hidden + unit;
    Vec gate[kGates];
    for (int g = 0; g < kGates; ++g) gate[g] = sum[r][g] + load(gates + g * s.hidden, lanes);
    Vec c, h;
    math::lstm_unit(gate[0], gate[1], gate[2], gate[3], load(x.c_prev + at * s.hidden + unit, lanes), c, h);
    for (int g = 0; g < kGates; ++g) store(gates + g * s.hidden, gate[g], lanes);
    store(x.y + at * x.y_stride + unit, h, lanes);
    float* h_next = next_row(s, x.h_prev, t, i);
    float* c_next = next_row(s, x.c_prev, t, i);
    store((h_next ? h_next : x.hn + i * s.hidden) + unit, h, lanes);
    store((c_next ? c_next : x.cn + i * s.hidden) + unit, c, lanes);
  }
}

// Gradients of the gates of some rows' units at step t; dc becomes the gradient of c_prev.
void gate_gradients(const LstmBackwardArgs& x, int64_t t, Range rows, Range units) {
  const SequenceShape& s = x.shape;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const int64_t at = s.offsets[t] + i;
    for (int64_t u = units.begin; u < units.end; u += kLanes) {
      const int lanes = lanes_left(units.end, u);
      float* gates = x.gates + at * kGates * s.hidden + u;
      float* dc_at = x.dc + i * s.hidden + u;
      Vec gate[kGates];
      for (int g = 0; g < kGates; ++g) gate[g] = load(gates + g * s.hidden, lanes);
      const Vec dh = load(x.dh + i * s.hidden + u, lanes) + load(x.dy + at * x.dy_stride + u, lanes);
      Vec dc = load(dc_at, lanes);
      math::lstm_unit_backward(gate[0], gate[1], gate[2], gate[3], load(x.c_prev + at * s.hidden + u, lanes),
                               dh, dc);
      for (int g = 0; g < kGates; ++g) store(gates + g * s.hidden, gate[g], lanes);
      store(dc_at, dc, lanes);
    }
  }
}

template <class Element>
void run(const LstmArgs& x) {
  const SequenceShape& s = x.shape;
  place_initial(s, x.h0, x.h_prev);
  place_initial(s, x.c0, x.c_prev);
  const int64_t panels = (s.hidden + kLanes - 1) / kLanes;
  const int64_t rows = s.steps ? s.batch_sizes[0] : 0;
  const int max_parts = recurrent_parts(rows * kGates * s.hidden * s.hidden, panels, x.products);
  parallel_steps(max_parts, s.steps, [&](int64_t first, int64_t last, int part, int parts) {
    for (int64_t index = first; index < last; ++index) {
      const int64_t t = step_at(s, index);
      const StepShare own = forward_share<Element>(s.batch_sizes[t], s.hidden, kGates, part, parts);
      const Rows<Element> h = step_operand<Element>(x.h_prev + s.offsets[t] * s.hidden, s.hidden, own.rows,
                                                    s.hidden, x.products.part(part));
      for (int64_t p = own.panels.begin; p < own.panels.end; ++p) {
        const void* panel = training_panel<Element>(x.w_hh, p, s.hidden, kGates * kLanes);
        for_tiles<rows_for<Element>(kGates)>(own.rows.end - own.rows.begin, [&](auto height, int64_t tile) {
          constexpr int ROWS = decltype(height)::value;
          const int64_t row = own.rows.begin + tile;
          Vec sum[ROWS][kGates];
          panel_product<ROWS, kGates, Element>(h, row, panel, s.hidden, sum);
          finish_rows(x, t, row, p * kLanes, sum);
        });
      }
    }
  });
}

template <class Element>
void run_backward(const LstmBackwardArgs& x) {
  const SequenceShape& s = x.shape;
  const int64_t panels = (s.hidden + kPanelWidth - 1) / kPanelWidth;
  const int64_t rows = s.steps ? s.batch_sizes[0] : 0;
  const int max_parts = recurrent_parts(rows * kGates * s.hidden * s.hidden, panels, x.products);
  // A step ends where its gates' gradients are complete; the product that follows is of a thread's own share.
  parallel_steps(max_parts, s.steps + 1, [&](int64_t first, int64_t last, int part, int parts) {
    const int64_t width = kGates * s.hidden;
    for (int64_t index = first; index < last; ++index) {
      const int64_t before = index > 0 ? step_at(s, s.steps - index) : -1;
      const int64_t t = index < s.steps ? step_at(s, s.steps - 1 - index) : -1;
      const BackwardShare own =
          backward_share<Element>(running_at(s, before), running_at(s, t), s.hidden, width, part, parts);
      if (before >= 0) {
        const Rows<Element> gates = step_operand<Element>(x.gates + s.offsets[before] * width, width,
                                                          own.product_rows, width, x.products.part(part));
        add_product<false>(gates, width, x.w_hh_t, own.product_rows, own.panels, s.hidden, x.dh);
      }
      if (t >= 0) gate_gradients(x, t, own.gate_rows, own.units);
    }
  });
}

}  // namespace

void lstm(const LstmArgs& x) {
  with_training_element(x.products.type, [&](auto* element) { run<element_of<decltype(element)>>(x); });
}

void lstm_backward(const LstmBackwardArgs& x) {
  with_training_element(x.products.type,
                        [&](auto* element) { run_backward<element_of<decltype(element)>>(x); });
}

}  // namespace s2s::S2S_ISA

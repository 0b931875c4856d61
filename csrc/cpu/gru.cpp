// Split by units or rows as in lstm.cpp. With the reset gate before the product a step has two halves, and
// the threads meet twice.
#include "ops/gru.h"

#include <type_traits>

#include "cpu/detail/panel.h"
#include "cpu/detail/sequence.h"
#include "cpu/table.h"
#include "math/gates.h"

namespace s2s::S2S_ISA {
namespace {

void store_state(const GruArgs& x, int64_t t, int64_t i, int64_t unit, Vec h, int lanes) {
  const SequenceShape& s = x.shape;
  store(x.y + (s.offsets[t] + i) * x.y_stride + unit, h, lanes);
  float* next = next_row(s, x.h_prev, t, i);
  store((next ? next : x.h_last + i * s.hidden) + unit, h, lanes);
}

template <int ROWS>
void finish_after(const GruArgs& x, int64_t t, int64_t row, int64_t unit, Vec (&sum)[ROWS][3]) {
  const SequenceShape& s = x.shape;
  const int lanes = lanes_left(s.hidden, unit);
  Vec bias[3];
  for (int g = 0; g < 3; ++g) bias[g] = load(x.b_hh + g * s.hidden + unit, lanes);
  for (int r = 0; r < ROWS; ++r) {
    const int64_t i = row + r, at = s.offsets[t] + i;
    float* gates = x.gates + at * 3 * s.hidden + unit;
    const Vec hn = sum[r][2] + bias[2];
    Vec gate[3], h;
    for (int g = 0; g < 3; ++g) gate[g] = load(gates + g * s.hidden, lanes);
    for (int g = 0; g < 2; ++g) gate[g] = gate[g] + (sum[r][g] + bias[g]);
    math::gru_unit(gate[0], gate[1], gate[2], hn, load(x.h_prev + at * s.hidden + unit, lanes), h);
    for (int g = 0; g < 3; ++g) store(gates + g * s.hidden, gate[g], lanes);
    store(x.hn + at * s.hidden + unit, hn, lanes);
    store_state(x, t, i, unit, h, lanes);
  }
}

// First half of a step with the reset gate before the product: r, z and r h.
template <int ROWS>
void finish_reset(const GruArgs& x, int64_t t, int64_t row, int64_t unit, Vec (&sum)[ROWS][2]) {
  const SequenceShape& s = x.shape;
  const int lanes = lanes_left(s.hidden, unit);
  for (int r = 0; r < ROWS; ++r) {
    const int64_t at = s.offsets[t] + row + r;
    float* gates = x.gates + at * 3 * s.hidden + unit;
    Vec gate[2];
    for (int g = 0; g < 2; ++g) {
      const Vec bias = load(x.b_hh + g * s.hidden + unit, lanes);
      gate[g] = math::sigmoid(load(gates + g * s.hidden, lanes) + (sum[r][g] + bias));
      store(gates + g * s.hidden, gate[g], lanes);
    }
    store(x.hn + at * s.hidden + unit, gate[0] * load(x.h_prev + at * s.hidden + unit, lanes), lanes);
  }
}

// Second half: n and h.
template <int ROWS>
void finish_before(const GruArgs& x, int64_t t, int64_t row, int64_t unit, Vec (&sum)[ROWS][1]) {
  const SequenceShape& s = x.shape;
  const int lanes = lanes_left(s.hidden, unit);
  for (int r = 0; r < ROWS; ++r) {
    const int64_t i = row + r, at = s.offsets[t] + i;
    float* gates = x.gates + at * 3 * s.hidden + unit;
    Vec n = load(gates + 2 * s.hidden, lanes) + (sum[r][0] + load(x.b_hh + 2 * s.hidden + unit, lanes));
    Vec h;
    math::gru_state(load(gates + s.hidden, lanes), n, load(x.h_prev + at * s.hidden + unit, lanes), h);
    store(gates + 2 * s.hidden, n, lanes);
    store_state(x, t, i, unit, h, lanes);
  }
}

// One product of a step: the thread's rows of `a` [rows, H] times its panels, each tile handed to `finish`.
template <int GATES, class Element, class F>
S2S_INLINE void step_product(const GruArgs& x, int64_t t, const float* a, const float* weights, int part,
                             int parts, const F& finish) {
  const SequenceShape& s = x.shape;
  const StepShare own = forward_share<Element>(s.batch_sizes[t], s.hidden, GATES, part, parts);
  const Rows<Element> rows =
      step_operand<Element>(a + s.offsets[t] * s.hidden, s.hidden, own.rows, s.hidden, x.products.part(part));
  for (int64_t p = own.panels.begin; p < own.panels.end; ++p) {
    const void* panel = training_panel<Element>(weights, p, s.hidden, GATES * kLanes);
    constexpr int kMost = rows_for<Element>(GATES) < 8 ? rows_for<Element>(GATES) : 8;
    for_tiles<kMost>(own.rows.end - own.rows.begin, [&](auto height, int64_t tile) {
      constexpr int ROWS = decltype(height)::value;
      const int64_t row = own.rows.begin + tile;
      Vec sum[ROWS][GATES];
      panel_product<ROWS, GATES, Element>(rows, row, panel, s.hidden, sum);
      finish(row, p * kLanes, sum);
    });
  }
}

// dh (complete) -> gradients of the pre-activations of some rows' units as far as they need no product; dh
// becomes what goes straight to h_prev. With reset_after that is all; before it, r waits for the gradient of
// r h.
void gate_gradients(const GruBackwardArgs& x, int64_t t, Range rows, Range units) {
  const SequenceShape& s = x.shape;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const int64_t at = s.offsets[t] + i;
    for (int64_t u = units.begin; u < units.end; u += kLanes) {
      const int lanes = lanes_left(units.end, u);
      float* gates = x.gates + at * 3 * s.hidden + u;
      const Vec r = load(gates, lanes), z = load(gates + s.hidden, lanes),
                n = load(gates + 2 * s.hidden, lanes);
      const Vec dh = load(x.dh + i * s.hidden + u, lanes) + load(x.dy + at * x.dy_stride + u, lanes);
      Vec dz, dn, direct;
      math::gru_unit_backward_update(z, n, load(x.h_prev + at * s.hidden + u, lanes), dh, dz, dn, direct);
      store(gates + s.hidden, dz, lanes);
      store(gates + 2 * s.hidden, dn, lanes);
      store(x.dh + i * s.hidden + u, direct, lanes);
      if (x.reset_after) {
        const Vec hn = load(x.hn + at * s.hidden + u, lanes);
        store(gates, dn * hn * r * (splat(1.0f) - r), lanes);
        store(x.dgates_hn + at * s.hidden + u, dn * r, lanes);
      } else {
        store(x.dgates_hn + at * s.hidden + u, dn, lanes);
      }
    }
  }
}

// reset_before: from the gradient of r h, those of r's pre-activation and of h.
void reset_gradients(const GruBackwardArgs& x, int64_t t, Range rows, Range units, const float* d_reset) {
  const SequenceShape& s = x.shape;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const int64_t at = s.offsets[t] + i;
    for (int64_t u = units.begin; u < units.end; u += kLanes) {
      const int lanes = lanes_left(units.end, u);
      float* gate = x.gates + at * 3 * s.hidden + u;
      float* dh = x.dh + i * s.hidden + u;
      const Vec r = load(gate, lanes), d = load(d_reset + i * s.hidden + u, lanes);
      store(gate, d * load(x.h_prev + at * s.hidden + u, lanes) * r * (splat(1.0f) - r), lanes);
      store(dh, fma(d, r, load(dh, lanes)), lanes);
    }
  }
}

template <class Element>
void run(const GruArgs& x) {
  const SequenceShape& s = x.shape;
  place_initial(s, x.h0, x.h_prev);
  const int64_t panels = (s.hidden + kLanes - 1) / kLanes;
  const int64_t rows = s.steps ? s.batch_sizes[0] : 0;
  const int max_parts = recurrent_parts(rows * 3 * s.hidden * s.hidden, panels, x.products);
  const int64_t halves = x.reset_after ? 1 : 2;
  parallel_steps(max_parts, s.steps * halves, [&](int64_t first, int64_t last, int part, int parts) {
    for (int64_t index = first; index < last; ++index) {
      const int64_t t = step_at(s, index / halves);
      if (x.reset_after) {
        step_product<3, Element>(
            x, t, x.h_prev, x.w_hh, part, parts,
            [&](int64_t row, int64_t unit, auto& sum) { finish_after(x, t, row, unit, sum); });
      } else if (index % 2 == 0) {
        step_product<2, Element>(
            x, t, x.h_prev, x.w_hh, part, parts,
            [&](int64_t row, int64_t unit, auto& sum) { finish_reset(x, t, row, unit, sum); });
      } else {
        step_product<1, Element>(x, t, x.hn, x.w_hn, part, parts, [&](int64_t row, int64_t unit, auto& sum) {
          finish_before(x, t, row, unit, sum);
        });
      }
    }
  });
}

template <class Element>
void run_backward(const GruBackwardArgs& x) {
  const SequenceShape& s = x.shape;
  const int64_t H = s.hidden;
  const int64_t panels = (H + kPanelWidth - 1) / kPanelWidth;
  const int64_t rows = s.steps ? s.batch_sizes[0] : 0;
  const int max_parts = recurrent_parts(rows * 3 * H * H, panels, x.products);
  const int64_t halves = x.reset_after ? 1 : 2;
  // The gates' gradients end a step, or half of one; the products that follow are of a thread's own share.
  parallel_steps(max_parts, s.steps * halves + 1, [&](int64_t first, int64_t last, int part, int parts) {
    for (int64_t index = first; index < last; ++index) {
      const int64_t done = index / halves;  // steps whose gates are complete
      const bool reset = index % halves == 1;
      const int64_t t = done < s.steps ? step_at(s, s.steps - 1 - done) : -1;
      const int64_t before = reset ? t : done > 0 ? step_at(s, s.steps - done) : -1;
      const BackwardShare own =
          backward_share<Element>(running_at(s, before), running_at(s, t), H, 3 * H, part, parts);
      const auto add = [&](auto add_to, const float* a, int64_t stride, int64_t width, const float* weights,
                           float* out) {
        const Rows<Element> rows = step_operand<Element>(a + s.offsets[before] * stride, stride,
                                                         own.product_rows, width, x.products.part(part));
        add_product<decltype(add_to)::value>(rows, width, weights, own.product_rows, own.panels, H, out);
      };
      if (reset) {
        add(std::false_type{}, x.dgates_hn, H, H, x.w_hn_t, x.d_reset);
        reset_gradients(x, t, own.gate_rows, own.units, x.d_reset);
        continue;
      }
      if (before >= 0) {
        // [dr dz] times the first 2H rows of W_hh; with reset_after the recurrent part of dn times the
        // others.
        add(std::true_type{}, x.gates, 3 * H, 2 * H, x.w_hh_t, x.dh);
        if (x.reset_after) add(std::true_type{}, x.dgates_hn, H, H, x.w_hn_t, x.dh);
      }
      if (t >= 0) gate_gradients(x, t, own.gate_rows, own.units);
    }
  });
}

}  // namespace

void gru(const GruArgs& x) {
  with_training_element(x.products.type, [&](auto* element) { run<element_of<decltype(element)>>(x); });
}

void gru_backward(const GruBackwardArgs& x) {
  with_training_element(x.products.type,
                        [&](auto* element) { run_backward<element_of<decltype(element)>>(x); });
}

}  // namespace s2s::S2S_ISA

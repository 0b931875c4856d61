// Split by units, as lstm.cpp, or by rows where there are many (cpu/detail/walk.h): the threads meet once per
// step.
#include "ops/lstm_inference.h"

#include "cpu/detail/states.h"
#include "cpu/detail/walk.h"
#include "cpu/table.h"
#include "math/gates.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kGates = 4;

// What becomes of the sums of one row and vector of units in one step.
template <class Element>
struct Finish {
  const LstmInferenceArgs& x;
  const States<Element>& states;
  int64_t index, first_row;

  template <int PIECE>
  [[gnu::always_inline]] void operator()(Int<PIECE>, int64_t row, int64_t unit, Vec (&gate)[kGates]) const {
    const int64_t H = x.shape.hidden;
    const int lanes = lanes_left(H, unit);
    if constexpr (PIECE == 0) {
      const float* gates = x.gates + (first_row + row) * kGates * H + unit;
      for (int g = 0; g < kGates; ++g) gate[g] = gate[g] + load(gates + g * H, lanes);
      gate[0] = math::sigmoid(gate[0]);
    } else if constexpr (PIECE == 1) {
      gate[1] = math::sigmoid(gate[1]);
      gate[2] = math::tanh(gate[2]);
    } else if constexpr (PIECE == 2) {
      float* c = x.cn + row * H + unit;
      gate[3] = math::sigmoid(gate[3]);
      gate[0] = math::lstm_cell(gate[0], gate[1], gate[2], load(c, lanes));
      store(c, gate[0], lanes);
    } else {
      const Vec h = math::lstm_state(gate[3], gate[0]);
      store(x.y + (first_row + row) * x.y_stride + unit, h, lanes);
      states.store_h(index, row, unit, h, lanes);
    }
  }
};

template <class Element>
void run(const LstmInferenceArgs& x) {
  const SequenceShape& s = x.shape;
  const int64_t N = s.sequences, H = s.hidden, panels = (H + kLanes - 1) / kLanes;
  const States<Element> states(s, x.h0, x.hn, nullptr, x.scratch);
  if (x.c0 == nullptr) {
    std::memset(x.cn, 0, static_cast<size_t>(N * H) * 4);
  } else if (x.c0 != x.cn) {
    std::memcpy(x.cn, x.c0, static_cast<size_t>(N * H) * 4);
  }
  const int max_parts = recurrent_parts(N * kGates * H * H, panels, x.type);
  parallel_steps(max_parts, s.steps, [&](int64_t first, int64_t last, int part, int parts) {
    for (int64_t index = first; index < last; ++index) {
      const int64_t t = step_at(s, index), first_row = s.offsets[t] - s.offsets[0];
      walk_panels<kGates>(states.rows(index), s.batch_sizes[t], x.w_hh, x.type, part, parts,
                          x.downward != (index % 2 == 1), H, Finish<Element>{x, states, index, first_row});
    }
  });
  states.copy_last(s, x.hn);
}

}  // namespace

void lstm_inference(const LstmInferenceArgs& x) {
  with_element(x.type, [&](auto* element) { run<element_of<decltype(element)>>(x); });
}

}  // namespace s2s::S2S_ISA

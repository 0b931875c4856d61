// Split by units, as lstm.cpp: each thread streams its own panels of W_hh and meets the others once per step.
#include "ops/lstm_inference.h"

#include "cpu/detail/states.h"
#include "cpu/table.h"
#include "math/gates.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int kGates = 4;

template <class Element>
S2S_INLINE void finish_rows(const LstmInferenceArgs& x, const States<Element>& states, int64_t index,
                            int64_t unit, const Tile<kGates>& tile) {
  const SequenceShape& s = x.shape;
  const int lanes = lanes_left(s.hidden, unit);
  const int64_t first = s.offsets[step_at(s, index)] - s.offsets[0] + tile.row;
  // First the cells of all rows: one after the other each row would wait for its own.
  for (int r = 0; r < tile.rows; ++r) {
    const float* gates = x.gates + (first + r) * kGates * s.hidden + unit;
    float* c_at = x.cn + (tile.row + r) * s.hidden + unit;
    Vec* gate = tile.sum[r];
    for (int g = 0; g < kGates; ++g) gate[g] = gate[g] + load(gates + g * s.hidden, lanes);
    Vec c;
    math::lstm_cell(gate[0], gate[1], gate[2], gate[3], load(c_at, lanes), c);
    store(c_at, c, lanes);
    gate[0] = c;
  }
  for (int r = 0; r < tile.rows; ++r) {
    Vec h;
    math::lstm_state(tile.sum[r][3], tile.sum[r][0], h);
    store(x.y + (first + r) * x.y_stride + unit, h, lanes);
    states.store_h(index, tile.row + r, unit, h, lanes);
  }
}

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
    const Range range = share_of(panels, part, parts);
    for (int64_t index = first; index < last; ++index) {
      const int64_t rows = s.batch_sizes[step_at(s, index)];
      const bool downward = x.downward != (index % 2 == 1);
      for (int64_t at = range.begin; at < range.end; ++at) {
        const int64_t p = downward ? range.begin + range.end - 1 - at : at;
        step_product<kGates>(states.rows(index), rows, x.w_hh, x.type, p, H, [&](const Tile<kGates>& tile) {
          finish_rows(x, states, index, p * kLanes, tile);
        });
      }
    }
  });
  states.copy_last(s, x.hn);
}

}  // namespace

void lstm_inference(const LstmInferenceArgs& x) {
  with_element(x.type, [&](auto* element) { run<element_of<decltype(element)>>(x); });
}

}  // namespace s2s::S2S_ISA

// Split by units, as gru.cpp, or by rows where there are many (cpu/detail/walk.h). With the reset gate before
// the product a step has two halves, and the threads meet twice.
#include "ops/gru_inference.h"

#include "cpu/detail/states.h"
#include "cpu/detail/walk.h"
#include "cpu/table.h"
#include "math/gates.h"

namespace s2s::S2S_ISA {
namespace {

// What the two halves of a step with the reset gate before the product hand on: z, and r h as the left
// operand.
template <class Element>
struct Halves {
  float* z;          // [N, H]
  float* reset;      // [N, H] r h
  Quantized* bytes;  // [N, stride] r h, int8
  int64_t hidden, stride;

  Halves(const SequenceShape& s, void* memory) : hidden(s.hidden), stride(quantized_stride(s.hidden)) {
    const int64_t floats = (s.sequences * s.hidden + 15) / 16 * 16;
    z = static_cast<float*>(memory);
    reset = z + floats;
    bytes = reinterpret_cast<Quantized*>(reset + floats);
    if constexpr (sizeof(Element) == 1)
      std::memset(bytes, 0, static_cast<size_t>(s.sequences * stride) * sizeof(Quantized));
  }

  Rows<Element> rows(const Rows<Element>& h) const {
    if constexpr (sizeof(Element) == 1) {
      return {bytes, stride, h.units};
    } else {
      return {reset, hidden};
    }
  }
};

template <class Element>
class Gru {
 public:
  Gru(const GruInferenceArgs& args)
      : x(args),
        s(args.shape),
        states(args.shape, args.h0, args.hn, args.bounds, args.scratch),
        halves(args.shape, static_cast<char*>(args.scratch) +
                               recurrent_scratch_bytes(args.shape.sequences, args.shape.hidden)) {}

  void run() {
    const int64_t H = s.hidden, panels = (H + kLanes - 1) / kLanes, each = x.reset_after ? 1 : 2;
    const int max_parts = recurrent_parts(s.sequences * 3 * H * H, panels, x.type);
    parallel_steps(max_parts, s.steps * each, [&](int64_t first, int64_t last, int part, int parts) {
      for (int64_t half = first; half < last; ++half) {
        const int64_t index = half / each, rows = s.batch_sizes[step_at(s, index)];
        const Rows<Element> h = states.rows(index);
        const bool downward = x.downward != (index % 2 == 1);
        if (x.reset_after) {
          walk_panels<3>(h, rows, x.w_hh, x.type, part, parts, downward, H,
                         [&](auto piece, int64_t i, int64_t unit, Vec(&gate)[3]) {
                           finish_after<decltype(piece)::value>(index, i, unit, gate);
                         });
        } else if (half % 2 == 0) {
          walk_panels<2>(h, rows, x.w_hh, x.type, part, parts, downward, H,
                         [&](auto piece, int64_t i, int64_t unit, Vec(&gate)[2]) {
                           finish_reset<decltype(piece)::value>(index, i, unit, gate);
                         });
        } else {
          walk_panels<1>(halves.rows(h), rows, x.w_hn, x.type, part, parts, downward, H,
                         [&](auto piece, int64_t i, int64_t unit, Vec(&gate)[1]) {
                           finish_before<decltype(piece)::value>(index, i, unit, gate);
                         });
        }
      }
    });
    states.copy_last(s, x.hn);
  }

 private:
  int64_t row_of(int64_t index, int64_t i) const { return s.offsets[step_at(s, index)] - s.offsets[0] + i; }

  [[gnu::always_inline]] void finish(int64_t index, int64_t i, int64_t unit, Vec z, Vec n, int lanes) const {
    const Vec h = math::gru_update(z, n, load(states.h(index, i) + unit, lanes));
    store(x.y + row_of(index, i) * x.y_stride + unit, h, lanes);
    states.store_h(index, i, unit, h, lanes);
  }

  template <int PIECE>
  [[gnu::always_inline]] void finish_after(int64_t index, int64_t i, int64_t unit, Vec (&gate)[3]) const {
    const int lanes = lanes_left(s.hidden, unit);
    if constexpr (PIECE == 0) {
      const float* gates = x.gates + row_of(index, i) * 3 * s.hidden + unit;
      Vec sum[3];
      for (int g = 0; g < 3; ++g) sum[g] = gate[g] + load(x.b_hh + g * s.hidden + unit, lanes);
      for (int g = 0; g < 2; ++g) gate[g] = load(gates + g * s.hidden, lanes) + sum[g];
      gate[0] = math::sigmoid(gate[0]);
      gate[2] = math::gru_candidate(gate[0], load(gates + 2 * s.hidden, lanes), sum[2]);
    } else if constexpr (PIECE == 1) {
      gate[1] = math::sigmoid(gate[1]);
    } else if constexpr (PIECE == 2) {
      gate[2] = math::tanh(gate[2]);
    } else {
      finish(index, i, unit, gate[1], gate[2], lanes);
    }
  }

  // First half of a step with the reset gate before the product: z and r h.
  template <int PIECE>
  [[gnu::always_inline]] void finish_reset(int64_t index, int64_t i, int64_t unit, Vec (&gate)[2]) const {
    const int lanes = lanes_left(s.hidden, unit);
    if constexpr (PIECE == 0) {
      const float* gates = x.gates + row_of(index, i) * 3 * s.hidden + unit;
      for (int g = 0; g < 2; ++g) {
        const Vec bias = load(x.b_hh + g * s.hidden + unit, lanes);
        gate[g] = load(gates + g * s.hidden, lanes) + (gate[g] + bias);
      }
    } else if constexpr (PIECE == 1) {
      store(halves.z + i * s.hidden + unit, math::sigmoid(gate[1]), lanes);
    } else if constexpr (PIECE == 2) {
      gate[0] = math::sigmoid(gate[0]);
    } else {
      const Vec reset = gate[0] * load(states.h(index, i) + unit, lanes);
      store(halves.reset + i * s.hidden + unit, reset, lanes);
      if constexpr (sizeof(Element) == 1)
        store_quantized(halves.bytes + i * halves.stride + unit, reset, splat(math::inverse_of(x.bounds[i])));
    }
  }

  // Second half: n and h.
  template <int PIECE>
  [[gnu::always_inline]] void finish_before(int64_t index, int64_t i, int64_t unit, Vec (&gate)[1]) const {
    const int lanes = lanes_left(s.hidden, unit);
    if constexpr (PIECE == 0) {
      const float* gates = x.gates + row_of(index, i) * 3 * s.hidden + unit;
      gate[0] = load(gates + 2 * s.hidden, lanes) + (gate[0] + load(x.b_hh + 2 * s.hidden + unit, lanes));
    } else if constexpr (PIECE == 1) {
      gate[0] = math::tanh(gate[0]);
    } else if constexpr (PIECE == 3) {
      finish(index, i, unit, load(halves.z + i * s.hidden + unit, lanes), gate[0], lanes);
    }
  }

  const GruInferenceArgs& x;
  const SequenceShape& s;
  const States<Element> states;
  const Halves<Element> halves;
};

}  // namespace

void gru_inference(const GruInferenceArgs& x) {
  with_element(x.type, [&](auto* element) { Gru<element_of<decltype(element)>>(x).run(); });
}

}  // namespace s2s::S2S_ISA

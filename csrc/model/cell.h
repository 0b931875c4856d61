// Cell: an LSTM or GRU layer in one direction: input product, recurrence, and their gradients. The one place
// of the network that tells the two apart.
#pragma once

#include <string>

#include "core/ragged.h"
#include "model/distinct_rows.h"
#include "model/parameters.h"
#include "ops/gru_inference.h"
#include "ops/lstm_inference.h"

namespace s2s::model {

enum class CellKind { lstm, gru };

struct CellConfig {
  CellKind kind = CellKind::lstm;
  int64_t input = 0, hidden = 0;
  bool bias = true;
  bool reset_after = true;                           // GRU only
  float zoneout_hidden = 0.0f, zoneout_cell = 0.0f;  // rates; c's of LSTMs only
  bool zoned() const { return zoneout_hidden > 0.0f || (kind == CellKind::lstm && zoneout_cell > 0.0f); }
  int64_t gates() const { return kind == CellKind::lstm ? 4 : 3; }
};

// State of N sequences; c is undefined for a GRU.
struct State {
  Tensor h, c;  // [N, H]
  static State empty(const CellConfig& config, int64_t sequences);
  static State zeros(const CellConfig& config, int64_t sequences);
  State rows(int64_t begin, int64_t count) const;
  void set_rows(int64_t count);
};
// An undefined state is zero.
void copy_state(const State& from, const State& to);

// The names of zoneout's masks in training, by row; undefined ones: the expectation.
struct ZoneoutNames {
  Tensor example, time;  // [R] int64, int32
  int32_t op = 0, stream = 0;
  uint64_t seed = 0;
  uint32_t update = 0;
  ZoneoutNames rows(int64_t begin, int64_t count) const;
};

// A matrix in a buffer that grows as needed.
Tensor matrix_in(Tensor& buffer, int64_t rows, int64_t width);

class Cell {
 public:
  Cell() = default;
  // Registers prefix + {weight_ih, weight_hh, bias_ih, bias_hh} + suffix.
  static void declare(Parameters& all, const CellConfig& config, const std::string& prefix,
                      const std::string& suffix);
  Cell(const Parameters& all, const CellConfig& config, const std::string& prefix, const std::string& suffix);

  const CellConfig& config() const { return config_; }

  // What forward keeps for backward; for inference, scratch: gates alone. Rows as in Ragged.
  struct Saved {
    Tensor gates;   // [R, G * H] pre-activations, then activations, then gradients
    Tensor h_prev;  // [R, H]
    Tensor extra;   // [R, H] LSTM: c_prev; GRU: ops/gru.h's hn
    Tensor dn;      // [R, H] GRU, backward only: gradient of the recurrent part of n
    Saved rows(int64_t begin, int64_t count) const;
    void set_rows(int64_t count);
  };
  Saved make_saved(int64_t rows, bool keep = true) const;

  // Weights in the layout of the device, for forward and for backward.
  struct Packed {
    ops::Packed input;      // [C, G * H]
    Tensor input_bias;      // [G * H]: b_ih, for an LSTM b_ih + b_hh; undefined without biases
    ops::PackedGru hidden;  // LSTM: hidden.w_hh alone
    Tensor hidden_bias;     // [3H] GRU
  };
  // Inputs may be taken in parts: columns [begin, begin + count) of w_ih.
  Packed pack(int64_t begin, int64_t count, ComputeType type = ComputeType::float32) const;
  Packed pack(ComputeType type = ComputeType::float32) const { return pack(0, config_.input, type); }
  ops::Packed pack_input(int64_t begin, int64_t count, ComputeType type) const;  // [count, G * H]
  ops::Packed pack_input_backward(int64_t begin, int64_t count) const;           // [G * H, count]
  ops::PackedGru pack_hidden_backward() const;

  // gates = W_ih x + bias; bounded: x are states; step_rows: of each time step that x has, 0 where they
  // differ.
  static void input_product(const Packed& packed, const Tensor& x, bool bounded, const Tensor& gates,
                            int64_t step_rows = 0);
  // The same where rows repeat: x are the distinct ones.
  static void input_product(const Packed& packed, const Tensor& x, const DistinctRows& rows, bool bounded,
                            const Tensor& gates);
  // x [R, C] -> y, last, keeping nothing. Undefined initial states are zero; `last` may be `initial`.
  // gates_buffer grows as needed.
  void infer(const Packed& packed, const Ragged& ragged, bool reverse, const Tensor& x, bool bounded,
             const State& initial, const Tensor& y, const State& last, Tensor& gates_buffer) const;
  // gates -> y, last; `initial` and `last` must not share memory.
  void recur(const Packed& packed, const Ragged& ragged, bool reverse, const Saved& saved,
             const State& initial, const Tensor& y, const State& last, const ZoneoutNames& names = {}) const;
  // dy, dstate (of the last state) -> saved.gates and saved.dn hold gradients, dstate that of the initial
  // state.
  void recur_backward(const ops::PackedGru& packed, const Ragged& ragged, bool reverse, const Saved& saved,
                      const Tensor& dy, const State& dstate, const ZoneoutNames& names = {}) const;
  // Adds the gradients of W_hh and the biases, and leaves saved.gates ready for the products to come. Returns
  // the gradient of the gates of the input's rows: one for each, or of the distinct ones (input_product).
  Tensor add_hidden_gradients(Saved& saved, const DistinctRows& input = {}) const;
  // Adds the gradients of columns of W_ih whose input was x [R, count].
  void add_input_gradients(const Tensor& dgates, const Tensor& x, int64_t begin) const;

 private:
  ComputeType step_type(ComputeType type) const;  // of the recurrent weights
  void walk(const Packed& packed, const Ragged& ragged, bool reverse, const Saved& saved,
            const State& initial, const Tensor& y, const State& last) const;
  void walk_backward(const ops::PackedGru& packed, const Ragged& ragged, bool reverse, const Saved& saved,
                     const Tensor& dy, const State& dstate) const;
  // With zoneout (zoned_cell.cpp): step by step.
  void zone(const State& before, const State& now, const ZoneoutNames& names, const State& out,
            const Tensor& y) const;
  void recur_zoned(const Packed& packed, const Ragged& ragged, Range steps, bool reverse, const Saved& saved,
                   const State& initial, const Tensor& y, const State& last, const ZoneoutNames& names) const;
  void recur_zoned_backward(const ops::PackedGru& packed, const Ragged& ragged, bool reverse,
                            const Saved& saved, const Tensor& dy, const State& dstate,
                            const ZoneoutNames& names) const;
  void infer_steps(const Packed& packed, const Ragged& ragged, Range steps, bool reverse, const Tensor& gates,
                   const State& initial, const Tensor& bounds, const Tensor& y, const State& last) const;

  void infer_part(const Packed& packed, const Ragged& ragged, Range steps, bool reverse, const Tensor& gates,
                  const State& initial, const Tensor& bounds, const Tensor& y, const State& last) const;

  CellConfig config_;
  Parameter w_ih_, w_hh_, b_ih_, b_hh_;
};

}  // namespace s2s::model

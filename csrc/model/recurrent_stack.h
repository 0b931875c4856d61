// RecurrentStack: layers of cells in one or both directions, with PyTorch's nn.LSTM / nn.GRU semantics, over
// a ragged batch. Encoders are made of it, decoders without input feeding, and seq2seq_fast.nn.LSTM and GRU.
#pragma once

#include <vector>

#include "model/cell.h"
#include "model/layer_norm.h"
#include "model/rows.h"

namespace s2s::model {

struct StackConfig {
  CellConfig cell;  // input: of the first layer
  int64_t layers = 1;
  bool bidirectional = false;
  // y_l = norm(h_l + x_l): x_l, a layer's input as it was before dropout, from the second layer on (Wu et al.
  // 2016); norm over both directions together, on every layer (Ba et al. 2016).
  bool residual = false, layer_norm = false;
  int64_t first = 0;  // the number of the first layer, in names and masks
  // Whether what leaves a layer lies in [-1, 1].
  bool bounded() const { return !layer_norm && !(residual && layers > 1); }
  int64_t directions() const { return bidirectional ? 2 : 1; }
  int64_t width() const { return directions() * cell.hidden; }
};

class RecurrentStack {
 public:
  RecurrentStack() = default;
  static void declare(Parameters& all, const StackConfig& config, const std::string& prefix);
  RecurrentStack(const Parameters& all, const StackConfig& config, const std::string& prefix);

  const StackConfig& config() const { return config_; }
  const Cell& cell(int64_t layer, int64_t direction = 0) const {
    return cells_[static_cast<size_t>(layer * config_.directions() + direction)];
  }

  bool adds(int64_t layer) const { return config_.residual && layer > 0; }
  // h [R, W] of a layer -> y, by its input where that is added; h then is what is normalised. y: where there
  // is a norm, may be h; else is h.
  void finish(int64_t layer, const Tensor& input, const Tensor& h, const Tensor& y) const;
  // dy becomes the gradient of h, which is that of the added input, too; h as finish left it.
  void finish_backward(int64_t layer, const Tensor& h, const Tensor& dy) const;
  ZoneoutNames zoneout_names(const Dropout& dropout, const RowNames& names, int dropout_op, int64_t layer,
                             int64_t direction) const;

  // States in the order of Ragged, one per layer and direction: index layer * directions + direction.
  using States = std::vector<State>;

  struct Saved {
    DistinctRows rows;               // of the first layer's input
    std::vector<Tensor> inputs;      // per layer [R, C]; of the first x
    std::vector<Cell::Saved> cells;  // per layer and direction
    std::vector<Tensor> sums;        // per layer [R, D * H]: what was normalised
  };
  struct Packed {
    std::vector<Cell::Packed> cells;
  };
  Packed pack(ComputeType type = ComputeType::float32) const;

  // x [R, C] -> y [R, D * H] (may be a view of columns) and `last`, which is given; keeps nothing. bounded: x
  // are states. Undefined initial states are zero.
  // The buffers are the caller's, and grow.
  struct Scratch {
    Tensor gates;       // [rows, G * H] floats
    Tensor outputs[2];  // of a layer, in turn
  };
  void infer(const Packed& packed, const Ragged& ragged, const Tensor& x, bool bounded, const States& initial,
             const Tensor& y, const States& last, Scratch& scratch) const;

  // The same for training, with dropout between layers; `last` is made. `saved` null: infer. x and dx have a
  // row for each distinct one where saved->rows, which is given, says so.
  void forward(const Packed& packed, const Ragged& ragged, const Tensor& x, const States& initial,
               const Tensor& y, States& last, const Dropout& dropout, const RowNames& names, int dropout_op,
               Saved* saved) const;

  // dy [R, D * H] and dstates (of the last states) -> dx [R, C] (skipped where undefined), dstates of the
  // initial ones; adds to the gradients of the parameters. Uses up `saved`.
  void backward(const Ragged& ragged, Saved& saved, const Tensor& dy, States& dstates, const Tensor& dx,
                const Dropout& dropout, const RowNames& names, int dropout_op) const;

 private:
  StackConfig config_;
  std::vector<Cell> cells_;
  std::vector<LayerNorm> norms_;  // per layer
};

}  // namespace s2s::model

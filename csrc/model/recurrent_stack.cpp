#include "model/recurrent_stack.h"

#include "ops/matmul.h"
#include "ops/norm.h"

namespace s2s::model {
namespace {

CellConfig layer_config(const StackConfig& config, int64_t layer) {
  CellConfig cell = config.cell;
  if (layer > 0) cell.input = config.width();
  return cell;
}

std::string suffix(int64_t layer, int64_t direction) {
  return "_l" + std::to_string(layer) + (direction ? "_reverse" : "");
}

std::string norm_name(const std::string& prefix, int64_t layer) {
  return prefix + "norm" + suffix(layer, 0);
}

}  // namespace

void RecurrentStack::declare(Parameters& all, const StackConfig& config, const std::string& prefix) {
  for (int64_t l = 0; l < config.layers; ++l) {
    for (int64_t d = 0; d < config.directions(); ++d) {
      Cell::declare(all, layer_config(config, l), prefix, suffix(config.first + l, d));
    }
    if (config.layer_norm) LayerNorm::declare(all, norm_name(prefix, config.first + l), config.width());
  }
}

RecurrentStack::RecurrentStack(const Parameters& all, const StackConfig& config, const std::string& prefix)
    : config_(config) {
  for (int64_t l = 0; l < config.layers; ++l) {
    for (int64_t d = 0; d < config.directions(); ++d) {
      cells_.emplace_back(all, layer_config(config, l), prefix, suffix(config.first + l, d));
    }
    if (config.layer_norm) norms_.emplace_back(all, norm_name(prefix, config.first + l));
  }
}

void RecurrentStack::finish(int64_t layer, const Tensor& input, const Tensor& h, const Tensor& y) const {
  if (adds(layer)) ops::add(input, h);
  if (config_.layer_norm) norms_[static_cast<size_t>(layer)].forward(h, y);
}

void RecurrentStack::finish_backward(int64_t layer, const Tensor& h, const Tensor& dy) const {
  if (config_.layer_norm) norms_[static_cast<size_t>(layer)].backward(h, dy);
}

ZoneoutNames RecurrentStack::zoneout_names(const Dropout& dropout, const RowNames& names, int dropout_op,
                                           int64_t layer, int64_t direction) const {
  if (!dropout.zoneout || !config_.cell.zoned()) return {};
  const int op = dropout_op == kDropEncoderLayer ? kZoneoutEncoder : kZoneoutDecoder;
  return {names.example,
          names.step,
          op + static_cast<int32_t>(config_.first + layer),
          2 * static_cast<int32_t>(direction),
          dropout.seed,
          dropout.update};
}

RecurrentStack::Packed RecurrentStack::pack(ComputeType type) const {
  Packed packed;
  for (const Cell& cell : cells_) packed.cells.push_back(cell.pack(type));
  return packed;
}

void RecurrentStack::infer(const Packed& packed, const Ragged& ragged, const Tensor& x, bool bounded,
                           const States& initial, const Tensor& y, const States& last,
                           Scratch& scratch) const {
  const int64_t H = config_.cell.hidden;
  Tensor input = x;
  for (int64_t l = 0; l < config_.layers; ++l) {
    const bool top = l + 1 == config_.layers;
    const Tensor output = top ? y : matrix_in(scratch.outputs[l % 2], ragged.rows(), config_.width());
    for (int64_t d = 0; d < config_.directions(); ++d) {
      const size_t at = static_cast<size_t>(l * config_.directions() + d);
      cells_[at].infer(packed.cells[at], ragged, d == 1, input, l > 0 ? config_.bounded() : bounded,
                       initial[at], output.columns(d * H, H), last[at], scratch.gates);
    }
    finish(l, input, output, output);
    input = output;
  }
}

void RecurrentStack::forward(const Packed& packed, const Ragged& ragged, const Tensor& x,
                             const States& initial, const Tensor& y, States& last, const Dropout& dropout,
                             const RowNames& names, int dropout_op, Saved* saved) const {
  const int64_t R = ragged.rows(), H = config_.cell.hidden;
  last.clear();
  if (!saved) {
    for (size_t at = 0; at < cells_.size(); ++at)
      last.push_back(State::empty(config_.cell, ragged.sequences()));
    Scratch scratch;
    return infer(packed, ragged, x, false, initial, y, last, scratch);
  }
  const bool drops = dropout.layers > 0.0f;
  Tensor input = x, added = x;  // a layer's input, and the same before dropout
  for (int64_t l = 0; l < config_.layers; ++l) {
    const bool top = l + 1 == config_.layers;
    Tensor output = top ? y : Tensor::empty({R, config_.width()});
    const Tensor h = config_.layer_norm ? Tensor::empty({R, config_.width()}) : output;
    for (int64_t d = 0; d < config_.directions(); ++d) {
      const size_t at = static_cast<size_t>(l * config_.directions() + d);
      const Cell::Saved kept = cells_[at].make_saved(R);
      Cell::input_product(packed.cells[at], input, l == 0 ? saved->rows : DistinctRows{},
                          l > 0 && config_.bounded(), kept.gates);
      last.push_back(State::empty(config_.cell, ragged.sequences()));
      cells_[at].recur(packed.cells[at], ragged, d == 1, kept, initial[at], h.columns(d * H, H), last.back(),
                       zoneout_names(dropout, names, dropout_op, l, d));
      saved->cells.push_back(kept);
    }
    finish(l, added, h, output);
    if (config_.layer_norm) saved->sums.push_back(h);
    saved->inputs.push_back(input);
    added = output;
    if (!top && drops) {
      if (adds(l + 1)) output = Tensor::empty(output.shape());
      const int op = dropout_op + static_cast<int>(config_.first + l);
      ops::dropout(added, output, names.example, names.time, op, dropout.mask(op));
    }
    input = output;
  }
}

void RecurrentStack::backward(const Ragged& ragged, Saved& saved, const Tensor& dy, States& dstates,
                              const Tensor& dx, const Dropout& dropout, const RowNames& names,
                              int dropout_op) const {
  const int64_t R = ragged.rows(), H = config_.cell.hidden;
  Tensor doutput = dy;
  for (int64_t l = config_.layers - 1; l >= 0; --l) {
    const bool want = l > 0 || dx.defined();
    const int64_t width = cell(l).config().input;
    const Tensor dinput = l == 0 ? dx : Tensor::empty({R, width});
    const DistinctRows rows = l == 0 ? saved.rows : DistinctRows{};
    finish_backward(l, config_.layer_norm ? saved.sums[static_cast<size_t>(l)] : Tensor(), doutput);
    for (int64_t d = 0; d < config_.directions(); ++d) {
      const size_t at = static_cast<size_t>(l * config_.directions() + d);
      const Cell& c = cells_[at];
      Cell::Saved& kept = saved.cells[at];
      if (config_.cell.kind == CellKind::gru) kept.dn = Tensor::empty({R, H});
      c.recur_backward(c.pack_hidden_backward(), ragged, d == 1, kept, doutput.columns(d * H, H), dstates[at],
                       zoneout_names(dropout, names, dropout_op, l, d));
      const Tensor dgates = c.add_hidden_gradients(kept, rows);
      c.add_input_gradients(dgates, saved.inputs[static_cast<size_t>(l)], 0);
      if (want) ops::matmul(dgates, c.pack_input_backward(0, width), dinput, {.accumulate = d > 0});
      kept = {};
    }
    if (l > 0) dropout.apply(dinput, names, dropout_op + static_cast<int>(config_.first + l) - 1);
    if (adds(l)) ops::add(doutput, dinput);
    doutput = dinput;
  }
}

}  // namespace s2s::model

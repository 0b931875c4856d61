#include "model/cell.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "ops/embedding.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/reduce.h"

namespace s2s::model {
namespace {

Tensor as_row(const Tensor& vector) {
  return vector.reshape({1, vector.size()});
}

// Steps are taken in parts whose gates stay in the cache, but for products of at least so many rows.
constexpr int64_t kGatesInCache = 1 << 17, kLeastRows = 64;
// A device wants long walks: parts there only bound the memory.
constexpr int64_t kGatesOnDevice = 1 << 28;

}  // namespace

void copy_state(const State& from, const State& to) {
  for (const auto& [source, target] : {std::pair{from.h, to.h}, std::pair{from.c, to.c}}) {
    if (!target.defined() || source.data() == target.data()) continue;
    if (source.defined()) {
      target.copy_from(source);
    } else {
      target.fill_zero();
    }
  }
}

Tensor matrix_in(Tensor& buffer, int64_t rows, int64_t width) {
  if (!buffer.defined() || buffer.size() < rows * width) buffer = Tensor::empty({rows * width});
  return buffer.rows(0, rows * width).reshape({rows, width});
}

State State::empty(const CellConfig& config, int64_t sequences) {
  return {Tensor::empty({sequences, config.hidden}),
          config.kind == CellKind::lstm ? Tensor::empty({sequences, config.hidden}) : Tensor()};
}

State State::zeros(const CellConfig& config, int64_t sequences) {
  State state = empty(config, sequences);
  state.h.fill_zero();
  if (state.c.defined()) state.c.fill_zero();
  return state;
}

State State::rows(int64_t begin, int64_t count) const {
  return {h.rows(begin, count), c.defined() ? c.rows(begin, count) : Tensor()};
}

void State::set_rows(int64_t count) {
  h.set_rows(count);
  if (c.defined()) c.set_rows(count);
}

Cell::Saved Cell::Saved::rows(int64_t begin, int64_t count) const {
  const auto part = [&](const Tensor& t) { return t.defined() ? t.rows(begin, count) : t; };
  return {part(gates), part(h_prev), part(extra), part(dn)};
}

void Cell::Saved::set_rows(int64_t count) {
  for (Tensor* t : {&gates, &h_prev, &extra, &dn}) {
    if (t->defined()) t->set_rows(count);
  }
}

void Cell::declare(Parameters& all, const CellConfig& c, const std::string& prefix,
                   const std::string& suffix) {
  const int64_t rows = c.gates() * c.hidden;
  all.add(prefix + "weight_ih" + suffix, {rows, c.input}, true);
  all.add(prefix + "weight_hh" + suffix, {rows, c.hidden}, true);
  if (!c.bias) return;
  all.add(prefix + "bias_ih" + suffix, {rows}, false);
  all.add(prefix + "bias_hh" + suffix, {rows}, false);
}

Cell::Cell(const Parameters& all, const CellConfig& config, const std::string& prefix,
           const std::string& suffix)
    : config_(config),
      w_ih_(parameter(all, prefix + "weight_ih" + suffix)),
      w_hh_(parameter(all, prefix + "weight_hh" + suffix)) {
  if (!config.bias) return;
  b_ih_ = parameter(all, prefix + "bias_ih" + suffix);
  b_hh_ = parameter(all, prefix + "bias_hh" + suffix);
}

Cell::Saved Cell::make_saved(int64_t rows, bool keep) const {
  const int64_t H = config_.hidden;
  if (!keep) return {Tensor::empty({rows, config_.gates() * H}), {}, {}, {}};
  return {Tensor::empty({rows, config_.gates() * H}), Tensor::empty({rows, H}), Tensor::empty({rows, H}),
          Tensor()};
}

Cell::Packed Cell::pack(int64_t begin, int64_t count, ComputeType type) const {
  Packed packed;
  packed.input = pack_input(begin, count, type);
  if (b_ih_.defined()) {
    packed.input_bias = Tensor::zeros({b_ih_.value.size()});
    ops::add(as_row(b_ih_.value), as_row(packed.input_bias));
  }
  if (config_.kind == CellKind::lstm) {
    if (b_hh_.defined()) ops::add(as_row(b_hh_.value), as_row(packed.input_bias));
    packed.hidden.w_hh = ops::pack_transposed(w_hh_.value, 4, step_type(type));
  } else {
    packed.hidden = ops::pack_gru(w_hh_.value, config_.reset_after, step_type(type));
    packed.hidden_bias = Tensor::zeros({3 * config_.hidden});
    if (b_hh_.defined()) ops::add(as_row(b_hh_.value), as_row(packed.hidden_bias));
  }
  return packed;
}

ops::Packed Cell::pack_input(int64_t begin, int64_t count, ComputeType type) const {
  return ops::pack_transposed(w_ih_.value.columns(begin, count), 0,
                              ops::product_type(w_ih_.value.device(), type));
}

ops::Packed Cell::pack_input_backward(int64_t begin, int64_t count) const {
  return ops::pack(w_ih_.value.columns(begin, count), ops::product_type(w_ih_.value.device()));
}

ops::PackedGru Cell::pack_hidden_backward() const {
  const ComputeType type = step_type(ComputeType::float32);
  if (config_.kind == CellKind::lstm) return {ops::pack(w_hh_.value, type), {}};
  return ops::pack_gru_backward(w_hh_.value, type);
}

// A device's recurrences are trained in float32.
ComputeType Cell::step_type(ComputeType type) const {
  return w_hh_.value.device().is_cpu() ? ops::product_type(Device::cpu(), type) : type;
}

void Cell::input_product(const Packed& packed, const Tensor& x, bool bounded, const Tensor& gates,
                         int64_t step_rows) {
  ops::matmul(x, packed.input, gates,
              {.bias = packed.input_bias, .bounded = bounded, .step_rows = step_rows});
}

void Cell::input_product(const Packed& packed, const Tensor& x, const DistinctRows& rows, bool bounded,
                         const Tensor& gates) {
  if (!rows.defined()) return input_product(packed, x, bounded, gates);
  const Tensor once = Tensor::empty({rows.count, gates.dim(1)});
  input_product(packed, x, bounded, once);
  ops::embedding(rows.index, once, gates);
}

void Cell::recur(const Packed& packed, const Ragged& ragged, bool reverse, const Saved& saved,
                 const State& initial, const Tensor& y, const State& last, const ZoneoutNames& names) const {
  if (config_.zoned()) {
    return recur_zoned(packed, ragged, {0, ragged.steps()}, reverse, saved, initial, y, last, names);
  }
  walk(packed, ragged, reverse, saved, initial, y, last);
}

void Cell::walk(const Packed& packed, const Ragged& ragged, bool reverse, const Saved& saved,
                const State& initial, const Tensor& y, const State& last) const {
  if (!saved.h_prev.defined()) {
    infer_steps(packed, ragged, {0, ragged.steps()}, reverse, saved.gates, initial, {}, y, last);
  } else if (config_.kind == CellKind::lstm) {
    ops::lstm(ragged, reverse, saved.gates, packed.hidden.w_hh, initial.h, initial.c, y, saved.h_prev,
              saved.extra, last.h, last.c);
  } else {
    ops::gru(ragged, reverse, config_.reset_after, saved.gates, packed.hidden, packed.hidden_bias, initial.h,
             y, saved.h_prev, saved.extra, last.h);
  }
}

void Cell::infer_steps(const Packed& packed, const Ragged& ragged, Range steps, bool reverse,
                       const Tensor& gates, const State& initial, const Tensor& bounds, const Tensor& y,
                       const State& last) const {
  if (config_.kind == CellKind::lstm) {
    ops::lstm_inference(ragged, steps, reverse, gates, packed.hidden.w_hh, initial.h, initial.c, y, last.h,
                        last.c);
  } else {
    ops::gru_inference(ragged, steps, reverse, config_.reset_after, gates, packed.hidden, packed.hidden_bias,
                       initial.h, bounds, y, last.h);
  }
}

void Cell::infer_part(const Packed& packed, const Ragged& ragged, Range steps, bool reverse,
                      const Tensor& gates, const State& initial, const Tensor& bounds, const Tensor& y,
                      const State& last) const {
  if (config_.zoned()) {
    recur_zoned(packed, ragged, steps, reverse, {gates, {}, {}, {}}, initial, y, last, {});
  } else {
    infer_steps(packed, ragged, steps, reverse, gates, initial, bounds, y, last);
  }
}

namespace {

// The rows of each of some time steps, 0 where they differ.
int64_t rows_of_each(const Ragged& ragged, Range steps) {
  if (steps.begin == steps.end) return 0;
  const int64_t most = ragged.batch_sizes[static_cast<size_t>(steps.begin)];
  return ragged.batch_sizes[static_cast<size_t>(steps.end - 1)] == most ? most : 0;
}

}  // namespace

void Cell::infer(const Packed& packed, const Ragged& ragged, bool reverse, const Tensor& x, bool bounded,
                 const State& initial, const Tensor& y, const State& last, Tensor& gates_buffer) const {
  const int64_t T = ragged.steps(), N = ragged.sequences(), width = config_.gates() * config_.hidden;
  const int64_t in_cache = x.device().is_cpu() ? kGatesInCache : kGatesOnDevice;
  const int64_t most = std::min(ragged.rows(), std::max({kLeastRows, in_cache / width, N}));
  // The gates of a part, and after them the bounds of a GRU's states.
  const Tensor memory = matrix_in(gates_buffer, most * width + N, 1);
  const Tensor gates = memory.rows(0, most * width).reshape({most, width});
  if (most == ragged.rows()) {
    input_product(packed, x, bounded, gates, rows_of_each(ragged, {0, T}));
    return infer_part(packed, ragged, {0, T}, reverse, gates, initial, {}, y, last);
  }
  copy_state(initial, last);
  Tensor bounds;
  if (config_.kind == CellKind::gru) {
    bounds = memory.rows(most * width, N).reshape({N});
    bounds.fill_zero();
  }
  for (int64_t done = 0; done < T;) {
    // As many steps as the rows of `gates` allow, from the end of the walk that comes next.
    Range steps = reverse ? Range{T - done, T - done} : Range{done, done};
    int64_t rows = 0;
    while (steps.end - steps.begin < T - done) {
      const int64_t more = ragged.batch_sizes[static_cast<size_t>(reverse ? steps.begin - 1 : steps.end)];
      if (rows + more > most) break;
      rows += more;
      reverse ? --steps.begin : ++steps.end;
    }
    const int64_t row = ragged.row(steps.begin, 0),
                  running = ragged.batch_sizes[static_cast<size_t>(steps.begin)];
    const State state = last.rows(0, running);
    input_product(packed, x.rows(row, rows), bounded, gates.rows(0, rows), rows_of_each(ragged, steps));
    infer_part(packed, ragged, steps, reverse, gates.rows(0, rows), state,
               bounds.defined() ? bounds.rows(0, running) : bounds, y.rows(row, rows), state);
    done += steps.end - steps.begin;
  }
}

void Cell::recur_backward(const ops::PackedGru& packed, const Ragged& ragged, bool reverse,
                          const Saved& saved, const Tensor& dy, const State& dstate,
                          const ZoneoutNames& names) const {
  if (config_.zoned()) return recur_zoned_backward(packed, ragged, reverse, saved, dy, dstate, names);
  walk_backward(packed, ragged, reverse, saved, dy, dstate);
}

void Cell::walk_backward(const ops::PackedGru& packed, const Ragged& ragged, bool reverse, const Saved& saved,
                         const Tensor& dy, const State& dstate) const {
  if (config_.kind == CellKind::lstm) {
    ops::lstm_backward(ragged, reverse, saved.gates, packed.w_hh, saved.extra, dy, dstate.h, dstate.c);
  } else {
    ops::gru_backward(ragged, reverse, config_.reset_after, saved.gates, saved.dn, packed, saved.h_prev,
                      saved.extra, dy, dstate.h);
  }
}

Tensor Cell::add_hidden_gradients(Saved& saved, const DistinctRows& input) const {
  const int64_t H = config_.hidden;
  if (b_ih_.defined()) {
    const Tensor sums = Tensor::zeros({config_.gates() * H});
    ops::column_sum(saved.gates, sums);
    ops::add(as_row(sums), as_row(b_ih_.gradient));
    if (config_.kind == CellKind::lstm) {
      ops::add(as_row(sums), as_row(b_hh_.gradient));
    } else {
      ops::add(as_row(sums.rows(0, 2 * H)), as_row(b_hh_.gradient.rows(0, 2 * H)));
      ops::column_sum(saved.dn, b_hh_.gradient.rows(2 * H, H));
    }
  }
  Tensor sums;
  if (input.defined()) {
    sums = Tensor::zeros({input.count, config_.gates() * H});
    ops::embedding_backward(input.index, saved.gates, sums);
    sums = ops::left_factor(sums);
  }
  saved.gates = ops::left_factor(saved.gates);
  if (config_.kind == CellKind::lstm) {
    ops::matmul_transposed(saved.gates, saved.h_prev, w_hh_.gradient, true);
  } else {
    ops::matmul_transposed(saved.gates.columns(0, 2 * H), saved.h_prev, w_hh_.gradient.rows(0, 2 * H), true);
    ops::matmul_transposed(saved.dn, config_.reset_after ? saved.h_prev : saved.extra,
                           w_hh_.gradient.rows(2 * H, H), true);
  }
  return input.defined() ? sums : saved.gates;
}

void Cell::add_input_gradients(const Tensor& dgates, const Tensor& x, int64_t begin) const {
  ops::matmul_transposed(dgates, x, w_ih_.gradient.columns(begin, x.dim(1)), true);
}

}  // namespace s2s::model

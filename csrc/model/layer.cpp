#include "model/layer.h"

#include <utility>

#include "ops/check.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

Parameters declare(const StackConfig& config, Device device) {
  const DeviceScope scope(device);
  const char* op = config.cell.kind == CellKind::lstm ? "lstm" : "gru";
  constexpr int64_t kWidest = 1 << 20;
  for (const auto& [name, size] :
       {std::pair{"input_size", config.cell.input}, {"hidden_size", config.cell.hidden}}) {
    check(op, size >= 1 && size <= kWidest, "Expected ", name, " from 1 to ", kWidest, ", got ", size, ".");
  }
  check(op, config.layers >= 1 && config.layers <= 64, "Expected num_layers from 1 to 64, got ",
        config.layers, ".");
  Parameters all;
  RecurrentStack::declare(all, config, "");
  all.allocate();
  return all;
}

// For each ragged row its row in a padded [T, N] array.
Tensor padded_rows(const Ragged& ragged, int64_t sequences) {
  Tensor index = Tensor::host({ragged.rows()}, DType::i32);
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    for (int64_t i = 0; i < ragged.batch_sizes[static_cast<size_t>(t)]; ++i) {
      index.i32()[ragged.row(t, i)] =
          static_cast<int32_t>(t * sequences + ragged.order[static_cast<size_t>(i)]);
    }
  }
  return index;
}

// For each row of a padded [T, N] array its ragged row, -1 past the sequence's length.
Tensor inverse_of(const Tensor& padded, int64_t rows) {
  Tensor index = Tensor::host({rows}, DType::i32);
  for (int64_t r = 0; r < rows; ++r) index.i32()[r] = -1;
  for (int64_t r = 0; r < padded.size(); ++r) index.i32()[padded.i32()[r]] = static_cast<int32_t>(r);
  return index;
}

Tensor as_matrix(const Tensor& padded) {
  return padded.reshape({padded.dim(0) * padded.dim(1), padded.dim(2)});
}

// Slot `at` of [L * D, N, H].
Tensor slot(const Tensor& states, size_t at) {
  return states.rows(static_cast<int64_t>(at), 1).reshape({states.dim(1), states.dim(2)});
}

}  // namespace

Layer::Layer(const StackConfig& config, float dropout, ComputeType compute_type, Device device)
    : config_(config),
      dropout_(dropout),
      compute_type_(compute_type),
      device_(device),
      parameters_(declare(config, device)),
      stack_(parameters_, config, "") {
  check(op(), dropout >= 0.0f && dropout < 1.0f, "Expected dropout from 0 to below 1, got ", dropout, ".");
}

void Layer::expect_state(const char* name, const Tensor& state, int64_t sequences) const {
  if (!state.defined()) return;
  ops::expect(op(), name, state, {config_.layers * config_.directions(), sequences, config_.cell.hidden});
  check(op(), state.device() == device_, "Expected ", name, " on ", device_, ", got it on ", state.device(),
        ".");
}

std::pair<Shape, Shape> Layer::output_shapes(const Tensor& x) const {
  const char* op = this->op();
  ops::expect_dtype(op, "x", x, DType::f32);
  check(op, x.device() == device_, "Expected x on ", device_, ", where the layer is, got it on ", x.device(),
        ".");
  check(op, x.shape().rank() == 3, "Expected x of shape [T, N, ", config_.cell.input, "], got ", x.shape(),
        ".");
  const int64_t T = x.dim(0), N = x.dim(1);
  check(op, T >= 1 && N >= 1, "Expected x of at least one step and one sequence, got shape ", x.shape(), ".");
  check(op, x.dim(2) == config_.cell.input, "Expected x of shape [", T, ", ", N, ", ", config_.cell.input,
        "], got ", x.shape(), ".");
  check(op, T * N <= INT32_MAX, "Expected x of at most ", INT32_MAX, " rows, got ", T * N, ".");
  return {Shape{T, N, config_.width()}, Shape{config_.layers * config_.directions(), N, config_.cell.hidden}};
}

Layer::Output Layer::forward(const Tensor& x, const Tensor& lengths, const Tensor& h0, const Tensor& c0,
                             uint64_t seed, uint32_t update, Saved* saved) const {
  const char* op = this->op();
  const DeviceScope scope(device_);
  const auto [y_shape, state_shape] = output_shapes(x);
  const int64_t T = x.dim(0), N = x.dim(1), H = config_.cell.hidden, D = config_.directions();
  if (saved) ops::expect_training_type(op, compute_type_);
  Tensor all = lengths;
  if (lengths.defined()) {
    ops::expect(op, "lengths", lengths, {N}, DType::i32);
    for (int64_t n = 0; n < N; ++n) {
      const int32_t length = lengths.i32()[n];
      check(op, length >= 1 && length <= T, "Expected lengths from 1 to ", T, ", got ", length,
            " at position ", n, ".");
    }
  } else {
    all = to_tensor(std::vector<int32_t>(static_cast<size_t>(N), static_cast<int32_t>(T)));
  }
  expect_state("h0", h0, N);
  expect_state("c0", c0, N);
  const Ragged ragged(all.i32(), N);
  const Tensor padded = padded_rows(ragged, N);  // of the host
  const Tensor input = Tensor::empty({ragged.rows(), config_.cell.input});
  ops::gather_rows(as_matrix(x), padded, input);
  const Tensor order = to_tensor(ragged.order).to(device_), position = to_tensor(ragged.position).to(device_);
  RecurrentStack::States initial, last;
  for (size_t at = 0; at < static_cast<size_t>(config_.layers * D); ++at) {
    State state = State::zeros(config_.cell, N);
    if (h0.defined()) ops::gather_rows(slot(h0, at), order, state.h);
    if (state.c.defined() && c0.defined()) ops::gather_rows(slot(c0, at), order, state.c);
    initial.push_back(state);
  }
  Dropout dropout;
  RowNames names;
  if (saved && dropout_ > 0.0f) {
    dropout = {.layers = dropout_, .seed = seed, .update = update};
    names = row_names(ragged, nullptr, dropout).to(device_);
  }
  const ops::ProductScope products(saved ? compute_type_ : ComputeType::float32);
  const auto packed = saved && compute_type_ != ComputeType::float32
                          ? std::make_shared<const RecurrentStack::Packed>(stack_.pack())
                          : this->packed();
  const Tensor rows = Tensor::empty({ragged.rows(), D * H});
  stack_.forward(*packed, ragged, input, initial, rows, last, dropout, names, kDropEncoderLayer,
                 saved ? &saved->stack : nullptr);

  Output out{Tensor::empty(y_shape), Tensor::empty(state_shape), {}};
  if (config_.cell.kind == CellKind::lstm) out.cn = Tensor::empty(state_shape);
  ops::gather_rows(rows, inverse_of(padded, T * N), as_matrix(out.y));
  for (size_t at = 0; at < last.size(); ++at) {
    ops::gather_rows(last[at].h, position, slot(out.hn, at));
    if (out.cn.defined()) ops::gather_rows(last[at].c, position, slot(out.cn, at));
  }
  if (saved) {
    saved->ragged = ragged;
    saved->names = names;
    saved->dropout = dropout;
    saved->steps = T;
    saved->sequences = N;
  }
  return out;
}

namespace {

// What an inference call of this thread keeps for the next.
struct InferenceScratch {
  Ragged ragged = Ragged::single_step(0);
  RecurrentStack::States initial, last;
  RecurrentStack::Scratch stack;
};

}  // namespace

void Layer::infer(const Tensor& x, const Tensor& h0, const Tensor& c0, const Output& out) const {
  static thread_local InferenceScratch scratches[2];  // of the CPU, of another device
  static thread_local Device last_device;
  InferenceScratch& scratch = scratches[device_.is_cpu() ? 0 : 1];
  if (!device_.is_cpu() && last_device != device_) {
    scratch = {};
    last_device = device_;
  }
  const DeviceScope scope(device_);
  const int64_t T = x.dim(0), N = x.dim(1);
  const size_t states = static_cast<size_t>(config_.layers * config_.directions());
  const bool lstm = config_.cell.kind == CellKind::lstm;
  expect_state("h0", h0, N);
  expect_state("c0", c0, N);
  scratch.ragged.set_uniform(N, T);
  scratch.initial.resize(states);
  scratch.last.resize(states);
  for (size_t at = 0; at < states; ++at) {
    scratch.initial[at] = {h0.defined() ? slot(h0, at) : Tensor(), c0.defined() ? slot(c0, at) : Tensor()};
    scratch.last[at] = {slot(out.hn, at), lstm ? slot(out.cn, at) : Tensor()};
  }
  stack_.infer(*packed(), scratch.ragged, as_matrix(x), false, scratch.initial, as_matrix(out.y),
               scratch.last, scratch.stack);
  // The caller's memory may be gone before the next call.
  scratch.initial.clear();
  scratch.last.clear();
}

Layer::Gradient Layer::backward(Saved& saved, const Tensor& dy, const Tensor& dhn, const Tensor& dcn) const {
  const std::string name = std::string(op()) + "_backward";
  if (saved.used.test_and_set())
    throw std::runtime_error("[" + name + "] This forward was used up by a backward.");
  const DeviceScope scope(device_);
  const ops::ProductScope products(compute_type_);
  const Ragged& ragged = saved.ragged;
  const int64_t T = saved.steps, N = saved.sequences, D = config_.directions();
  if (dy.defined()) ops::expect(name.c_str(), "dy", dy, {T, N, config_.width()});
  expect_state("dhn", dhn, N);
  expect_state("dcn", dcn, N);

  const Tensor padded = padded_rows(ragged, N);
  const Tensor drows = Tensor::zeros({ragged.rows(), config_.width()});
  if (dy.defined()) ops::gather_rows(as_matrix(dy), padded, drows);
  const Tensor order = to_tensor(ragged.order).to(device_), position = to_tensor(ragged.position).to(device_);
  RecurrentStack::States dstates;
  for (size_t at = 0; at < static_cast<size_t>(config_.layers * D); ++at) {
    State state = State::zeros(config_.cell, N);
    if (dhn.defined()) ops::gather_rows(slot(dhn, at), order, state.h);
    if (state.c.defined() && dcn.defined()) ops::gather_rows(slot(dcn, at), order, state.c);
    dstates.push_back(state);
  }
  parameters_.gradients().fill_zero();
  const Tensor dinput = Tensor::empty({ragged.rows(), config_.cell.input});
  stack_.backward(ragged, saved.stack, drows, dstates, dinput, saved.dropout, saved.names, kDropEncoderLayer);

  Gradient g{Tensor::empty({T, N, config_.cell.input}),
             Tensor::empty({config_.layers * D, N, config_.cell.hidden}),
             {}};
  if (config_.cell.kind == CellKind::lstm) g.dc0 = Tensor::empty(g.dh0.shape());
  ops::gather_rows(dinput, inverse_of(padded, T * N), as_matrix(g.dx));
  for (size_t at = 0; at < dstates.size(); ++at) {
    ops::gather_rows(dstates[at].h, position, slot(g.dh0, at));
    if (g.dc0.defined()) ops::gather_rows(dstates[at].c, position, slot(g.dc0, at));
  }
  return g;
}

}  // namespace s2s::model

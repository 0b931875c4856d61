#include "model/encoder_stream.h"

#include <algorithm>
#include <utility>

#include "ops/check.h"
#include "ops/embedding.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

constexpr const char* kOp = "EncoderStream";

// One after the other; undefined ones have no rows.
Tensor stacked(const std::vector<Tensor>& parts, int64_t width) {
  int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.defined() ? part.dim(0) : 0;
  const Tensor all = Tensor::empty({rows, width});
  int64_t at = 0;
  for (const Tensor& part : parts) {
    if (!part.defined() || part.dim(0) == 0) continue;
    all.rows(at, part.dim(0)).copy_from(part);
    at += part.dim(0);
  }
  return all;
}

}  // namespace

EncoderStream::EncoderStream(std::shared_ptr<const Network> network) : network_(std::move(network)) {
  const Config& config = network_->config();
  check(kOp, !config.bidirectional, "Expected a model whose encoder is not bidirectional.");
  check(kOp, config.recurs(), "Expected a model whose encoder has recurrent layers.");
  check(kOp, !config.copy_attention, "Expected a model without copy_attention.");
  const DeviceScope scope(network_->device());
  packed_ = network_->packed();
  conv_.resize(static_cast<size_t>(config.conv_layers));
  for (const Segment& segment : config.encoder_segments()) {
    segments_.emplace_back();
    RecurrentStack::States states;
    for (int64_t l = 0; l < segment.stack.layers; ++l) states.push_back(State::zeros(segment.stack.cell, 1));
    states_.push_back(std::move(states));
  }
}

std::unique_lock<std::mutex> EncoderStream::enter() {
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock())
    throw std::runtime_error("[EncoderStream] Another thread is at work on this stream.");
  check(kOp, !ended_, "Expected a stream that has not ended.");
  return lock;
}

Tensor EncoderStream::push(const Tensor& values) {
  const auto lock = enter();
  const DeviceScope scope(network_->device());
  const Config& config = network_->config();
  Tensor x;
  if (config.tokens_in()) {
    ops::expect(kOp, "values", values, {values.size()}, DType::i32);
    ops::expect_ids(kOp, "values", values, config.source_vocab_size);
    x = Tensor::empty({values.size(), config.source_width()});
    if (values.size() > 0) ops::embedding(values, network_->encoder().embedding(), x);
  } else {
    ops::expect_matrix(kOp, "values", values);
    ops::expect(kOp, "values", values, {values.dim(0), config.source_features});
    x = Tensor::empty(values.shape());
    x.copy_from(values);
  }
  received_ += x.dim(0);
  check(kOp, received_ <= INT32_MAX, "Expected at most ", INT32_MAX, " steps, got ", received_, ".");
  return advance(x, false).to(Device::cpu());
}

Tensor EncoderStream::finish() {
  const auto lock = enter();
  check(kOp, received_ > 0, "Expected at least one step before the end, got none.");
  const DeviceScope scope(network_->device());
  const Config& config = network_->config();
  const Tensor last = advance(Tensor::empty({0, config.source_width()}), true);
  ended_ = true;
  memory_.states = stacked(outputs_, config.memory_width());
  outputs_.clear();
  memory_.longest = memory_.states.dim(0);
  const auto length = static_cast<int32_t>(memory_.longest);
  memory_.offsets = flat_offsets(&length, 1);
  for (const auto& states : states_) memory_.last.insert(memory_.last.end(), states.begin(), states.end());
  return last.to(Device::cpu());
}

const Memory& EncoderStream::memory() const {
  check(kOp, ended_, "Expected a stream that has ended: call finish() first.");
  return memory_;
}

Tensor EncoderStream::source_lengths() const {
  return to_tensor(std::vector<int32_t>{static_cast<int32_t>(received_)});
}

// All outputs of a window over time that are known now.
Tensor EncoderStream::window(const TimeWindow& w, const Tensor& x, bool end, Inputs& in) const {
  if (w.trivial()) return x;
  const Tensor rows = stacked({in.rows, x}, x.dim(1));
  in.received += x.dim(0);
  std::vector<int32_t> index;
  int64_t given = in.given;
  for (;; ++given) {
    const int64_t begin = given * w.stride - w.left, past = begin + w.width;
    if (end ? given * w.stride >= in.received : past > in.received) break;
    for (int64_t step = begin; step < past; ++step) {
      const bool inside = step >= 0 && step < in.received;
      index.push_back(inside ? static_cast<int32_t>(step - in.first) : -1);
    }
  }
  const int64_t count = given - in.given;
  const Tensor y = Tensor::empty({count, w.width * x.dim(1)});
  if (count > 0) ops::gather_rows(rows, to_tensor(index), y.reshape({count * w.width, x.dim(1)}));
  in.given = given;
  const int64_t needed = std::clamp(given * w.stride - w.left, in.first, in.received);
  in.rows = rows.rows(needed - in.first, in.received - needed);
  in.first = needed;
  return y;
}

Tensor EncoderStream::advance(Tensor x, bool end) {
  const Config& config = network_->config();
  const Encoder& encoder = network_->encoder();
  for (size_t l = 0; l < conv_.size(); ++l) {
    const Tensor windows = window(config.conv_window(), x, end, conv_[l]);
    x = Tensor::empty({windows.dim(0), config.conv_channels});
    if (x.dim(0) > 0) encoder.conv().layer(packed_->encoder.conv, l, windows, x);
  }
  const std::vector<Segment> segments = config.encoder_segments();
  for (size_t k = 0; k < segments.size(); ++k) {
    x = window(segments[k].window, x, end, segments_[k]);
    const Tensor y = Tensor::empty({x.dim(0), config.memory_width()});
    if (x.dim(0) > 0) {
      const auto steps = static_cast<int32_t>(x.dim(0));
      encoder.stack(k).infer(packed_->encoder.stacks[k], Ragged(&steps, 1), x, false, states_[k], y,
                             states_[k], scratch_);
    }
    x = y;
  }
  if (x.dim(0) > 0) outputs_.push_back(x);
  return x;
}

}  // namespace s2s::model

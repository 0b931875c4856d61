#include "model/session.h"

#include <algorithm>
#include <utility>

#include "ops/check.h"

namespace s2s::model {

Session::Session(std::shared_ptr<const Network> network, const Source& source, int64_t max_rows)
    : network_(std::move(network)), sources_(source.lengths.size()), max_rows_(max_rows) {
  check("encode", max_rows >= sources_ && max_rows <= INT32_MAX, "Expected max_rows from the ", sources_,
        " sources to ", INT32_MAX, ", got ", max_rows, ".");
  const DeviceScope scope(network_->device());
  stepper_ = std::make_unique<ModelStepper>(*network_, network_->packed(), source, max_rows, true,
                                            std::span<const int32_t>(), workspace_);
}

Session::Session(std::shared_ptr<const Network> network, const Memory& memory, int64_t max_rows)
    : network_(std::move(network)), sources_(memory.sequences()), max_rows_(max_rows) {
  check("encode", max_rows >= sources_ && max_rows <= INT32_MAX, "Expected max_rows from the ", sources_,
        " sources to ", INT32_MAX, ", got ", max_rows, ".");
  const DeviceScope scope(network_->device());
  stepper_ = std::make_unique<ModelStepper>(*network_, network_->packed(), memory, max_rows, true,
                                            std::span<const int32_t>(), workspace_);
}

std::unique_lock<std::mutex> Session::enter() {
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) throw std::runtime_error("[step] Another thread is at work on this state.");
  return lock;
}

Tensor Session::step(const Tensor& parents, const Tensor& tokens) {
  const auto lock = enter();
  const DeviceScope scope(network_->device());
  const char* op = "step";
  ops::expect_ids(op, "tokens", tokens, stepper_->vocabulary());
  ops::expect(op, "tokens", tokens, {tokens.size()}, DType::i32);
  ops::expect_ids(op, "parents", parents, rows_ ? rows_ : sources_);
  ops::expect(op, "parents", parents, {tokens.size()}, DType::i32);
  check(op, tokens.size() >= 1 && tokens.size() <= max_rows_, "Expected tokens for 1 to ", max_rows_,
        " rows, got ", tokens.size(), ".");
  stepper_->advance(parents.i32(), tokens.i32(), tokens.size());
  rows_ = tokens.size();
  const Tensor log_probs = Tensor::host({rows_, stepper_->vocabulary()}, DType::f32);
  stepper_->copy_log_probs(log_probs);
  return log_probs;
}

Tensor Session::attention() {
  const auto lock = enter();
  const DeviceScope scope(network_->device());
  int64_t stride = 0;
  const float* weights = rows_ ? stepper_->attention(&stride) : nullptr;
  if (!weights) return {};
  const Tensor out = Tensor::host({rows_, stride}, DType::f32);
  std::copy_n(weights, out.size(), out.f32());
  return out;
}

}  // namespace s2s::model

#include "model/session.h"

#include <algorithm>
#include <utility>

#include "ops/check.h"

namespace s2s::model {

Session::Session(std::shared_ptr<const Network> network, const Source& source, int64_t max_rows, bool grows)
    : Session(std::move(network), source.lengths.size(), max_rows, grows) {
  check_rows();
  const DeviceScope scope(network_->device());
  stepper_ = std::make_unique<ModelStepper>(*network_, network_->packed(), source, max_rows, true,
                                            std::span<const int32_t>(), *workspace_);
}

Session::Session(std::shared_ptr<const Network> network, const Memory& memory, int64_t max_rows)
    : Session(std::move(network), memory.sequences(), max_rows, false) {
  check_rows();
  const DeviceScope scope(network_->device());
  stepper_ = std::make_unique<ModelStepper>(*network_, network_->packed(), memory, max_rows, true,
                                            std::span<const int32_t>(), *workspace_);
}

void Session::check_rows() const {
  check("encode", max_rows_ >= sources_ && max_rows_ <= INT32_MAX, "Expected max_rows from the ", sources_,
        " sources to ", INT32_MAX, ", got ", max_rows_, ".");
}

std::unique_ptr<Session> Session::fork() {
  const auto lock = enter();
  const DeviceScope scope(network_->device());
  std::unique_ptr<Session> other(new Session(network_, sources_, max_rows_, grows_));
  other->stepper_ = std::make_unique<ModelStepper>(*stepper_, max_rows_, *other->workspace_);
  other->rows_ = rows_;
  return other;
}

void Session::grow(int64_t rows) {
  auto workspace = std::make_unique<DecodeWorkspace>();
  auto stepper = std::make_unique<ModelStepper>(*stepper_, rows, *workspace);
  stepper_ = std::move(stepper);
  workspace_ = std::move(workspace);
  max_rows_ = rows;
}

std::unique_lock<std::mutex> Session::enter(bool to_restore) {
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) throw std::runtime_error("[step] Another thread is at work on this state.");
  if (lost_ && !to_restore) throw std::runtime_error("[step] A step failed half-way: this state is lost.");
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
  check(op, tokens.size() >= 1 && (grows_ || tokens.size() <= max_rows_), "Expected tokens for 1 to ",
        max_rows_, " rows, got ", tokens.size(), ".");
  if (tokens.size() > max_rows_) grow(std::max(tokens.size(), 2 * max_rows_));
  lost_ = true;
  stepper_->advance(parents.i32(), tokens.i32(), tokens.size());
  lost_ = false;
  rows_ = tokens.size();
  return last_log_probs();
}

Tensor Session::last_log_probs() {
  const Tensor log_probs = Tensor::host({rows_, stepper_->vocabulary()}, DType::f32);
  stepper_->copy_log_probs(log_probs);
  return log_probs;
}

Tensor Session::log_probs() {
  const auto lock = enter();
  const DeviceScope scope(network_->device());
  return rows_ ? last_log_probs() : Tensor();
}

Session::State Session::state() {
  const auto lock = enter();
  const DeviceScope scope(network_->device());
  State all;
  if (!rows_) return all;
  for (const auto& [name, values] : stepper_->state()) {
    all.emplace_back(name, Tensor::host(values.shape(), values.dtype()));
    all.back().second.copy_from(values);
  }
  return all;
}

void Session::restore(const State& state) {
  const auto lock = enter(true);
  const DeviceScope scope(network_->device());
  const char* op = "restore";
  check(op, !state.empty() && state[0].second.dtype() == DType::i32 && state[0].second.size() >= 1,
        "Expected the arrays of a state, the first of them int32 of at least one row.");
  const Tensor example = state[0].second;
  ops::expect_ids(op, "example", example, sources_);
  const int64_t rows = example.size();
  if (rows > max_rows_) grow(rows);
  // The shapes that a state of so many rows has are those of the buffers.
  const auto own = stepper_->state();
  check(op, own.size() == state.size(), "Expected ", own.size(), " arrays, got ", state.size(), ".");
  for (size_t i = 0; i < own.size(); ++i) {
    const auto& [name, values] = state[i];
    check(op, name == own[i].first, "Expected ", own[i].first, ", got ", name, ".");
    auto shape = own[i].second.shape();
    shape[0] = rows;
    ops::expect(op, name.c_str(), values, shape, own[i].second.dtype());
  }
  lost_ = true;
  stepper_->restore(state);
  lost_ = false;
  rows_ = rows;
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

// Session: a decoder at work on an encoded batch, one call per step, for searches that are not ours. It can
// be copied at any step, and its state read and written.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "model/stepper.h"

namespace s2s::model {

class Session {
 public:
  // What ModelStepper::state() is, on the host.
  using State = std::vector<std::pair<std::string, Tensor>>;

  // max_rows: the most rows of any step, at least the number of sources; where it grows, only at first.
  Session(std::shared_ptr<const Network> network, const Source& source, int64_t max_rows, bool grows = false);
  // Of sources that have been encoded, by the network's weights of now.
  Session(std::shared_ptr<const Network> network, const Memory& memory, int64_t max_rows);
  // Another one at the same point, which goes its own way from here.
  std::unique_ptr<Session> fork();

  // New row j continues old row parents[j] (at first: source parents[j]) with tokens[j], both int32 [rows];
  // returns log-probabilities [rows, V]. Throws std::runtime_error while another thread's step is under way.
  Tensor step(const Tensor& parents, const Tensor& tokens);
  // Weights of the last step, [rows, longest source]; undefined before it, or without attention.
  Tensor attention();
  // Log-probabilities of the last step; undefined before it.
  Tensor log_probs();
  // ModelStepper::state() on the host; none before the first step.
  State state();
  // Throws std::invalid_argument where this is no state of such a session.
  void restore(const State& state);
  const Memory& memory() const { return stepper_->memory(); }

 private:
  Session(std::shared_ptr<const Network> network, int64_t sources, int64_t max_rows, bool grows)
      : network_(std::move(network)), sources_(sources), max_rows_(max_rows), grows_(grows) {}
  void check_rows() const;
  std::unique_lock<std::mutex> enter(bool to_restore = false);
  void grow(int64_t rows);
  Tensor last_log_probs();

  std::mutex mutex_;
  std::shared_ptr<const Network> network_;
  int64_t sources_, max_rows_, rows_ = 0;
  bool grows_, lost_ = false;
  std::unique_ptr<DecodeWorkspace> workspace_ = std::make_unique<DecodeWorkspace>();
  std::unique_ptr<ModelStepper> stepper_;
};

}  // namespace s2s::model

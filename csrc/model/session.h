// Session: a decoder at work on an encoded batch, one call per step, for searches that are not ours.
#pragma once

#include <memory>
#include <mutex>

#include "model/stepper.h"

namespace s2s::model {

class Session {
 public:
  // max_rows: the most rows of any step, at least the number of sources.
  Session(std::shared_ptr<const Network> network, const Source& source, int64_t max_rows);
  // Of sources that have been encoded, by the network's weights of now.
  Session(std::shared_ptr<const Network> network, const Memory& memory, int64_t max_rows);

  // New row j continues old row parents[j] (at first: source parents[j]) with tokens[j], both int32 [rows];
  // returns log-probabilities [rows, V]. Throws std::runtime_error while another thread's step is under way.
  Tensor step(const Tensor& parents, const Tensor& tokens);
  // Weights of the last step, [rows, longest source]; undefined before it, or without attention.
  Tensor attention();
  const Memory& memory() const { return stepper_->memory(); }

 private:
  std::unique_lock<std::mutex> enter();

  std::mutex mutex_;
  std::shared_ptr<const Network> network_;
  int64_t sources_, max_rows_, rows_ = 0;
  DecodeWorkspace workspace_;
  std::unique_ptr<ModelStepper> stepper_;
};

}  // namespace s2s::model

// ModelStepper: the network as a search sees it. Rows are hypotheses; their states are gathered from their
// parents'.
#pragma once

#include <memory>
#include <vector>

#include "model/network.h"
#include "search/stepper.h"

namespace s2s::model {

class ModelStepper final : public Stepper {
 public:
  // `max_rows`: the most rows of any step, at least the number of sources.
  ModelStepper(const Network& network, std::shared_ptr<const PackedNetwork> packed, const Source& source,
               int64_t max_rows, bool keep_attention);

  int64_t vocabulary() const override { return network_.config().target_vocab_size; }
  int64_t source_length(int64_t source) const override;
  void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) override;
  void candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                  int32_t* tokens) override;
  const float* attention(int64_t* stride) override;

  Tensor copy_log_probs() const;  // [rows, V] of the last step
  const Memory& memory() const { return memory_; }

 protected:
  const float* log_probs() override;

 private:
  const Network& network_;
  std::shared_ptr<const PackedNetwork> packed_;
  Memory memory_;
  Context::Prepared prepared_;
  bool keep_attention_;

  int64_t rows_ = 0;         // in use, of the buffers' max_rows
  Decoder::Rows buffers_;    // what a step writes
  Decoder::Rows step_;       // its rows in use; undefined before the first step
  std::vector<State> last_;  // the states after the last step, or the bridge's
  std::vector<State> initial_, written_;
  Tensor feed_, parents_, logits_;
};

}  // namespace s2s::model

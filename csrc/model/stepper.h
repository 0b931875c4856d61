// ModelStepper: the network as a search sees it. Rows are hypotheses; where they move, their states are
// gathered from their parents'.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/network.h"
#include "model/workspace.h"
#include "search/stepper.h"

namespace s2s::model {

class ModelStepper final : public Stepper {
 public:
  // `max_rows`: the most rows of any step, at least the number of sources. `vocabulary`: the only tokens that
  // may come out, ascending; empty: all. `workspace` is the caller's while the stepper lives.
  ModelStepper(const Network& network, std::shared_ptr<const PackedNetwork> packed, const Source& source,
               int64_t max_rows, bool keep_attention, std::span<const int32_t> vocabulary,
               DecodeWorkspace& workspace);
  // The same of a source that has been encoded.
  ModelStepper(const Network& network, std::shared_ptr<const PackedNetwork> packed, Memory memory,
               int64_t max_rows, bool keep_attention, std::span<const int32_t> vocabulary,
               DecodeWorkspace& workspace);

  // Another one at the same point, which goes its own way from here. `max_rows`: at least its rows.
  ModelStepper(const ModelStepper& other, int64_t max_rows, DecodeWorkspace& workspace);

  // The target vocabulary, and where the network copies the sources' tokens that are not in it.
  int64_t vocabulary() const override { return network_.config().target_vocab_size + memory_.copies.extra; }
  int64_t source_length(int64_t source) const override;
  void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) override;
  void candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                  int32_t* tokens) override;
  const float* attention(int64_t* stride) override;

  void copy_log_probs(const Tensor& out);  // of the last step -> [rows, vocabulary()]
  const Memory& memory() const { return memory_; }
  const float* log_probs() override;  // an ensemble asks, too

  // What all that follows depends on, beside the sources: an array with one row for each row of the last
  // step, by name, where the network lies (`example`, int32, the source of each row, on the host). Views that
  // the next step writes over.
  std::vector<std::pair<std::string, Tensor>> state() const;
  // Takes the place of a stepper over the same sources that had this state.
  void restore(const std::vector<std::pair<std::string, Tensor>>& state);
  int64_t rows() const { return rows_; }

 private:
  void move_rows(const int32_t* parents, int64_t rows);
  void open_rows(int64_t rows);
  void best_candidates(int64_t rows, int64_t k, std::span<const int32_t> forbidden, float* log_probs,
                       int32_t* tokens);
  bool copies() const { return network_.config().copy_attention; }
  Tensor mixed_log_probs();
  void best_columns(const Output::Packed& weights, const Tensor& log_probs, const Tensor& columns);
  void forbid_unlisted(const Tensor& scores) const;

  const Network& network_;
  const std::shared_ptr<const PackedNetwork> packed_;
  const Memory memory_;
  const Context::Prepared prepared_;
  const std::vector<State> first_;  // of every source
  const bool keep_attention_;
  StepBuffers& buffers_;
  const Shortlist* shortlist_ = nullptr;  // null: the whole vocabulary
  int64_t rows_ = 0;                      // of the last step
};

}  // namespace s2s::model

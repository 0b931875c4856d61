// Processors change the scores of a step before continuations are chosen from them: bans, penalties,
// constraints. A new decoding option that works on scores is a new Processor and a line in make_processors().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "search/options.h"

namespace s2s {

class History;

// One live hypothesis, as a processor sees it.
class RowView {
 public:
  RowView(const History& history, int64_t node, int64_t source, int64_t length, std::vector<int32_t>& scratch)
      : source(source), length(length), history_(history), node_(node), scratch_(scratch) {}

  const int64_t source;  // the sequence it translates
  const int64_t length;  // tokens it has so far

  // Those tokens, first to last. Walks back pointers (O(length)) the first time, so ask only if needed.
  std::span<const int32_t> tokens() const;

 private:
  const History& history_;
  const int64_t node_;
  std::vector<int32_t>& scratch_;
  mutable bool walked_ = false;
};

class Processor {
 public:
  virtual ~Processor() = default;

  // Whether process() may change anything at this step (0: the first token).
  virtual bool active(int64_t step) const = 0;

  // Where all it does at a step is to forbid the same tokens in every row: those. Then a fused output layer
  // chooses among the others.
  virtual std::optional<std::span<const int32_t>> forbidden() const { return std::nullopt; }

  // Whether it may change this row at all. A row that none concerns has the scores that it would have without
  // them, to the bit: so it does not depend on the other rows.
  virtual bool concerns(const RowView&) const { return true; }

  // The token that this row must take, whatever others say of it; -1: none. Then no process() is called.
  virtual int32_t forced(const RowView&) const { return -1; }

  // The only tokens that may follow in this row, each once, where the processor can name them without a look
  // at all: then scores are read of these alone. Valid until the next call. nullopt: any may follow, or
  // process() says which.
  virtual std::optional<std::span<const int32_t>> listed(const RowView&) { return std::nullopt; }

  // Changes one row of log-probabilities [vocabulary] in place; -infinity forbids a token. Rows are not
  // normalised again afterwards.
  virtual void process(const RowView& row, std::span<float> log_probs) = 0;
};

// The processors of a search, bound to the rows of its present step. This is what a Stepper is given.
class Processors {
 public:
  // True where the scores of this step are used as they are.
  bool empty() const { return active_.empty(); }

  // True where all that the active ones do is to forbid the tokens `forbidden` in every row: a Stepper may
  // then leave those out and never write dense scores.
  bool only_forbid() const { return only_forbid_; }
  std::span<const int32_t> forbidden() const { return forbidden_; }

  // Whether one of the active ones, other than those that only forbid the same tokens in every row, concerns
  // this row. Where !only_forbid(), those that none does are told by this.
  bool concern(int64_t row) const;

  // Applies the active processors, in order, to the log-probabilities [vocabulary] of one row.
  void apply(int64_t row, std::span<float> log_probs) const;

  // Where one of the active ones names the only tokens that may follow in this row: writes their scores,
  // after all processors, to the places of these tokens in `sparse` [vocabulary], which holds nothing but
  // -infinity and is for the caller to clear there, and returns them. nullopt: none does.
  std::optional<std::span<const int32_t>> apply_listed(int64_t row, const float* log_probs,
                                                       std::span<float> sparse) const;

  // For the search: which processors there are, and the rows of a step (arrays of one entry per row).
  void reset(std::vector<std::unique_ptr<Processor>> all, const History& history);
  void begin_step(int64_t step, const int64_t* nodes, const int32_t* sources);

 private:
  std::vector<std::unique_ptr<Processor>> all_;
  std::vector<Processor*> active_;
  std::vector<int32_t> forbidden_;
  bool only_forbid_ = true;
  const History* history_ = nullptr;
  const int64_t* nodes_ = nullptr;
  const int32_t* sources_ = nullptr;
  int64_t step_ = 0;
  mutable std::vector<int32_t> scratch_;
  mutable int32_t forced_ = -1;
};

// The processors that these options call for, which outlive them.
std::vector<std::unique_ptr<Processor>> make_processors(const SearchOptions& options);

using ProcessorPtr = std::unique_ptr<Processor>;
ProcessorPtr make_prefix(const SearchOptions& options);              // prefix.cpp
ProcessorPtr make_repetition_penalty(const SearchOptions& options);  // repetition.cpp
ProcessorPtr make_no_repeat_ngram(const SearchOptions& options);
ProcessorPtr make_suppressed(const SearchOptions& options);  // suppress.cpp
ProcessorPtr make_suppressed_sequences(const SearchOptions& options);
ProcessorPtr make_allowed_outputs(const SearchOptions& options);  // allowed.cpp
ProcessorPtr make_must_contain(const SearchOptions& options);     // phrases.cpp
ProcessorPtr make_forced_end(const SearchOptions& options);       // forced_end.cpp
ProcessorPtr make_renormalization(const SearchOptions& options);  // renormalize.cpp

}  // namespace s2s

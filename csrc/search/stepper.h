// The one thing a search knows of a model: rows of decoder state, one per live hypothesis, that advance by a
// token. A search calls, step after step: advance, candidates, and attention if it is wanted.
#pragma once

#include <cstdint>
#include <vector>

#include "search/dense.h"
#include "search/processor.h"

namespace s2s {

class Stepper {
 public:
  Stepper() = default;
  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;
  virtual ~Stepper() = default;

  // Size of the output vocabulary; constant.
  virtual int64_t vocabulary() const = 0;

  // Columns of `attention` that belong to this source; 0 where the model has no attention.
  virtual int64_t source_length(int64_t /*source*/) const { return 0; }

  // From now on there are `rows` rows, and row j continues old row parents[j], which emitted tokens[j]. The
  // number of rows changes freely from call to call; it is never 0. Old rows may have several children or
  // none. In the first call parents[j] = j is the index of a source and tokens[j] the start token. LiveRows
  // of one source are always adjacent, and sources in order.
  virtual void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) = 0;

  // The k best continuations of every row: log_probs [rows, k] in descending order, tokens [rows, k]; of
  // equals the lower token first. k is at most vocabulary(). A row whose scores contain NaN must be told by
  // NaN in its first place or by an exception. The default chooses from log_probs(), to which it applies the
  // processors; a Stepper that fuses the choice into its output layer overrides this and, where
  // !processors.only_forbid(), calls the default. Where fewer than k may follow, the rest have -infinity.
  virtual void candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                          int32_t* tokens);

  // Weights of this step, row-major [rows, *stride], valid until the next advance(); nullptr where there are
  // none.
  virtual const float* attention(int64_t* /*stride*/) { return nullptr; }

  // Log-probabilities of this step, [rows, vocabulary] row-major, valid until the next advance().
  virtual const float* log_probs() = 0;

 protected:
  // The k best of these dense scores of a row, after the processors.
  void choose(int64_t row, int64_t k, const float* scores, const Processors& processors, float* log_probs,
              int32_t* tokens);

 private:
  TopK top_k_;
  std::vector<float> processed_;  // one row
  std::vector<float> sparse_;     // one row of nothing but -infinity, while none is chosen from
};

}  // namespace s2s

// A Stepper around a Python function. The function runs with the GIL, everything else of the search without.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "search/stepper.h"

namespace s2s {

// What a step function returned, as [rows, columns]; columns -1: any number. TypeError and ValueError begin
// with `expected_of`.
pybind11::array_t<float, pybind11::array::c_style> floats_from_step(const char* expected_of,
                                                                    const pybind11::object& value,
                                                                    const char* name, int64_t rows,
                                                                    int64_t columns);

// step(parents int32 [rows], tokens int32 [rows]) -> scores float32 [rows, vocabulary], or (scores, attention
// float32 [rows, S]). Its exceptions pass through the search unchanged.
class PyStepper final : public Stepper {
 public:
  // logits: scores are normalised here; else they are log-probabilities. source_lengths: how many columns of
  // the attention belong to each source; empty: all.
  PyStepper(pybind11::object step, int64_t vocabulary, bool logits, std::vector<int64_t> source_lengths);

  int64_t vocabulary() const override { return vocabulary_; }
  int64_t source_length(int64_t source) const override;
  void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) override;
  void candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                  int32_t* tokens) override;
  const float* attention(int64_t* stride) override;

 protected:
  const float* log_probs() override;

 private:
  using Array = pybind11::array_t<float, pybind11::array::c_style>;

  const pybind11::object step_;
  const int64_t vocabulary_;
  const bool logits_;
  const std::vector<int64_t> source_lengths_;

  Array scores_;     // [rows, vocabulary], what the function returned last
  Array attention_;  // [rows, S]
  bool has_attention_ = false;
  int64_t attention_width_ = -1;   // S, the same at every step
  std::vector<float> normalised_;  // [rows, vocabulary], of logits
};

}  // namespace s2s

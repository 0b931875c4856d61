// A Scorer around a Python function, which runs with the GIL; everything else of the search without.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <utility>

#include "search/fusion.h"

namespace s2s {

// make(sources) -> step, step(parents int32 [rows], tokens int32 [rows]) -> float32 [rows, vocabulary]. Their
// exceptions pass through the search unchanged. Made, and let go by the last that has it, with the GIL.
class PyScorer final : public Scorer {
 public:
  explicit PyScorer(pybind11::object make) : make_(std::move(make)) {}

  void begin(int64_t num_sources) override;
  const float* scores(const int32_t* parents, const int32_t* tokens, int64_t rows,
                      int64_t vocabulary) override;

 private:
  const pybind11::object make_;
  pybind11::object step_;
  pybind11::array_t<float, pybind11::array::c_style> scores_;  // what step returned last
};

}  // namespace s2s

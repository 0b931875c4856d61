#include "bindings/py_scorer.h"

#include <cmath>
#include <string>

#include "bindings/gil.h"
#include "bindings/py_stepper.h"

namespace py = pybind11;

namespace s2s {

void PyScorer::begin(int64_t num_sources) {
  GilAcquire gil;
  py::list sources;
  for (int64_t i = 0; i < num_sources; ++i) sources.append(i);
  step_ = make_(sources);
  if (!PyCallable_Check(step_.ptr())) {
    throw py::type_error(std::string("[search] Expected a scorer to return a step function, got ") +
                         Py_TYPE(step_.ptr())->tp_name + ".");
  }
}

const float* PyScorer::scores(const int32_t* parents, const int32_t* tokens, int64_t rows,
                              int64_t vocabulary) {
  GilAcquire gil;
  scores_ = floats_from_step("[search] Expected a scorer's step to return ",
                             step_(py::array_t<int32_t>(rows, parents), py::array_t<int32_t>(rows, tokens)),
                             "scores", rows, vocabulary);
  const float* values = scores_.data();
  for (int64_t i = 0; i < rows * vocabulary; ++i) {
    if (std::isnan(values[i]) || values[i] == INFINITY) {
      throw std::runtime_error("[search] A scorer's score is NaN or infinite.");
    }
  }
  return values;
}

}  // namespace s2s

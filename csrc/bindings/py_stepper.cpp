#include "bindings/py_stepper.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/gil.h"

namespace py = pybind11;

namespace s2s {

namespace {

// What rounding may add to a log-probability of 0.
constexpr float kRounding = 1e-3f;

std::string shape_of(const py::array& array) {
  std::ostringstream text;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) text << (i > 0 ? ", " : "") << array.shape(i);
  return "[" + text.str() + "]";
}

constexpr const char* kExpected = "[beam_search] Expected step to return ";

}  // namespace

py::array_t<float, py::array::c_style> floats_from_step(const char* expected_of, const py::object& value,
                                                        const char* name, int64_t rows, int64_t columns) {
  const std::string expected = expected_of + std::string(name);
  const py::array array = py::array::ensure(value);  // an array, or a tensor that numpy can view
  if (!array) {
    PyErr_Clear();
    throw py::type_error(expected + " as a numpy array, got " + Py_TYPE(value.ptr())->tp_name + ".");
  }
  if (!py::isinstance<py::array_t<float>>(array)) {
    throw py::type_error(expected + " of dtype float32, got " + std::string(py::str(array.dtype())) + ".");
  }
  if (array.ndim() != 2 || array.shape(0) != rows || (columns >= 0 && array.shape(1) != columns)) {
    throw py::value_error(expected + " of shape [" + std::to_string(rows) + ", " +
                          (columns >= 0 ? std::to_string(columns) : "S") + "], got " + shape_of(array) + ".");
  }
  return array;  // copies only what is not contiguous
}

PyStepper::PyStepper(py::object step, int64_t vocabulary, bool logits, std::vector<int64_t> source_lengths)
    : step_(std::move(step)),
      vocabulary_(vocabulary),
      logits_(logits),
      source_lengths_(std::move(source_lengths)) {}

int64_t PyStepper::source_length(int64_t source) const {
  return source_lengths_.empty() ? attention_width_ : source_lengths_[source];
}

void PyStepper::advance(const int32_t* parents, const int32_t* tokens, int64_t rows) {
  GilAcquire gil;
  py::object scores = step_(py::array_t<int32_t>(rows, parents), py::array_t<int32_t>(rows, tokens));
  py::object attention;
  if (py::isinstance<py::tuple>(scores)) {
    const auto pair = py::cast<py::tuple>(scores);
    if (pair.size() != 2) {
      throw py::value_error("[beam_search] Expected step to return scores or (scores, attention), got " +
                            std::to_string(pair.size()) + " values.");
    }
    scores = pair[0];
    attention = pair[1];
  }
  scores_ = floats_from_step(kExpected, scores, "scores", rows, vocabulary_);
  has_attention_ = attention && !attention.is_none();
  if (!has_attention_) return;
  attention_ = floats_from_step(kExpected, attention, "attention", rows, attention_width_);
  attention_width_ = attention_.shape(1);
  if (!source_lengths_.empty() &&
      *std::max_element(source_lengths_.begin(), source_lengths_.end()) > attention_width_) {
    throw py::value_error(
        "[beam_search] Expected step to return attention as wide as the longest of "
        "source_lengths, got " +
        shape_of(attention_) + ".");
  }
}

void PyStepper::candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                           int32_t* tokens) {
  Stepper::candidates(rows, k, processors, log_probs, tokens);
  for (int64_t row = 0; row < rows; ++row) {
    if (log_probs[row * k] > kRounding) {
      throw std::invalid_argument(
          "[beam_search] Expected step to return log-probabilities, none above 0, got " +
          std::to_string(log_probs[row * k]) + "; for logits say logits=True.");
    }
  }
}

const float* PyStepper::attention(int64_t* stride) {
  *stride = attention_width_;
  return has_attention_ ? attention_.data() : nullptr;
}

const float* PyStepper::log_probs() {
  if (!logits_) return scores_.data();
  const int64_t rows = scores_.shape(0);
  normalised_.resize(rows * vocabulary_);
  for (int64_t row = 0; row < rows; ++row) {
    log_softmax_row(scores_.data() + row * vocabulary_, vocabulary_, normalised_.data() + row * vocabulary_);
  }
  return normalised_.data();
}

}  // namespace s2s

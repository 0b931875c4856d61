#include "bindings/search.h"

#include <pybind11/numpy.h>

#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/py_stepper.h"

namespace py = pybind11;

namespace s2s {

namespace {

// A view of what a hypothesis owns, read-only, that keeps it alive.
py::array float_view(const std::vector<float>& data, std::vector<py::ssize_t> shape,
                     const py::object& owner) {
  py::array_t<float> view(std::move(shape), data.data(), owner);
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

std::string repr(const Hypothesis& h) {
  return py::str("Hypothesis(tokens={}, score={:.6g}, log_prob={:.6g}, finished={})")
      .format(h.tokens, h.score, h.log_prob, h.finished);
}

void bind_hypothesis(py::module_& m) {
  py::class_<Hypothesis>(m, "Hypothesis", "An output sequence and how it was scored.")
      .def_readonly("tokens", &Hypothesis::tokens, "list[int], without the start and the end token.")
      .def_readonly("score", &Hypothesis::score, "log_prob after the length penalty: what ranks hypotheses.")
      .def_readonly("log_prob", &Hypothesis::log_prob, "Sum of token_scores.")
      .def_readonly("finished", &Hypothesis::finished,
                    "False where it was cut off at the maximum length, or nothing was allowed to follow.")
      .def_property_readonly(
          "end_token",
          [](const Hypothesis& h) { return h.finished ? py::object(py::int_(h.end_token)) : py::none(); },
          "The end token reached, or None.")
      .def_property_readonly(
          "token_scores",
          [](const py::object& self) {
            const auto& scores = self.cast<const Hypothesis&>().token_scores;
            return float_view(scores, {static_cast<py::ssize_t>(scores.size())}, self);
          },
          "float32 [tokens], log-probability of each; where finished, of the end token too, last.")
      .def_property_readonly(
          "attention",
          [](const py::object& self) -> py::object {
            const auto& h = self.cast<const Hypothesis&>();
            if (!h.attention) return py::none();
            return float_view(*h.attention,
                              {static_cast<py::ssize_t>(h.token_scores.size()), h.source_length}, self);
          },
          "float32 [as token_scores, source length], the weights each token was chosen with, or None.")
      .def("__repr__", &repr)
      .def(py::pickle(
          [](const Hypothesis& h) {
            return py::make_tuple(h.tokens, h.token_scores, h.attention, h.source_length, h.log_prob, h.score,
                                  h.end_token, h.finished);
          },
          [](const py::tuple& state) {
            if (state.size() != 8) throw py::value_error("[Hypothesis] Expected a state of 8 parts.");
            Hypothesis h;
            h.tokens = state[0].cast<decltype(h.tokens)>();
            h.token_scores = state[1].cast<decltype(h.token_scores)>();
            h.attention = state[2].cast<decltype(h.attention)>();
            h.source_length = state[3].cast<int64_t>();
            h.log_prob = state[4].cast<double>();
            h.score = state[5].cast<double>();
            h.end_token = state[6].cast<int32_t>();
            h.finished = state[7].cast<bool>();
            const auto rows = static_cast<int64_t>(h.token_scores.size());
            const bool fits =
                h.source_length >= 0 && h.source_length <= INT32_MAX && rows <= INT32_MAX &&
                (!h.attention || static_cast<int64_t>(h.attention->size()) == rows * h.source_length);
            if (!fits)
              throw py::value_error("[Hypothesis] Expected attention of a row for each token's score.");
            return h;
          }));
}

template <typename T>
constexpr const char* kTypeName = "an integer";
template <>
constexpr const char* kTypeName<bool> = "a bool";
template <>
constexpr const char* kTypeName<double> = "a number";
template <>
constexpr const char* kTypeName<std::vector<int32_t>> = "a list of integers";
using OptionalIds = std::optional<std::vector<int32_t>>;
template <>
constexpr const char* kTypeName<OptionalIds> = "a list of integers, an int32 array or None";

// Reads the entries of a dict that are asked for by name, and knows which were not.
class DictReader {
 public:
  explicit DictReader(const py::dict& dict) : dict_(dict) {}

  template <typename T>
  void operator()(const char* name, T& field) {
    known_.insert(name);
    if (!dict_.contains(name)) return;
    const py::object value = dict_[name];
    if constexpr (std::is_same_v<T, OptionalIds>) {  // a long array, read at once
      using Array = py::array_t<int32_t, py::array::c_style>;
      if (py::isinstance<py::array_t<int32_t>>(value) && value.cast<Array>().ndim() == 1) {
        const auto array = value.cast<Array>();
        field.emplace(array.data(), array.data() + array.size());
        return;
      }
    }
    try {
      field = value.cast<T>();
    } catch (const py::cast_error&) {
      throw py::type_error(std::string("[search] Expected ") + name + " to be " + kTypeName<T> + ", got " +
                           std::string(py::repr(value)) + ".");
    }
  }

  void refuse_others() const {
    for (const auto& item : dict_) {
      const std::string name = py::str(item.first);
      if (!known_.contains(name)) throw py::value_error("[search] There is no option " + name + ".");
    }
  }

 private:
  const py::dict& dict_;
  std::set<std::string> known_;
};

}  // namespace

SearchOptions search_options_from_dict(const py::dict& dict) {
  SearchOptions o;
  DictReader read(dict);
  read("beam_size", o.beam_size);
  read("patience", o.patience);
  read("num_hypotheses", o.num_hypotheses);
  read("length_penalty", o.length_penalty);
  read("min_decoding_length", o.min_decoding_length);
  read("max_decoding_length", o.max_decoding_length);
  read("ctc_weight", o.ctc_weight);
  read("return_attention", o.return_attention);
  read("start_token", o.start_token);
  read("end_tokens", o.end_tokens);
  read("vocabulary", o.vocabulary);
  read.refuse_others();
  return o;
}

void bind_search(py::module_& m) {
  bind_hypothesis(m);
  m.def(
      "beam_search",
      [](const py::object& step, int64_t num_sources, int64_t vocabulary, const py::dict& options,
         bool logits, std::vector<int64_t> source_lengths) {
        PyStepper stepper(step, vocabulary, logits, std::move(source_lengths));
        const SearchOptions native = search_options_from_dict(options);
        py::gil_scoped_release release;
        return generate(stepper, num_sources, native);
      },
      py::arg("step"), py::arg("num_sources"), py::arg("vocabulary"), py::arg("options"), py::arg("logits"),
      py::arg("source_lengths"), "The search of seq2seq_fast.search.beam_search.");
}

}  // namespace s2s

#include "bindings/search.h"

#include <pybind11/numpy.h>

#include <map>
#include <string>

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
            Hypothesis h;
            h.tokens = state[0].cast<decltype(h.tokens)>();
            h.token_scores = state[1].cast<decltype(h.token_scores)>();
            h.attention = state[2].cast<decltype(h.attention)>();
            h.source_length = state[3].cast<int64_t>();
            h.log_prob = state[4].cast<double>();
            h.score = state[5].cast<double>();
            h.end_token = state[6].cast<int32_t>();
            h.finished = state[7].cast<bool>();
            return h;
          }));
}

template <typename T>
void assign(T& field, const std::string& name, const py::handle& value, const char* expected) {
  try {
    field = value.cast<T>();
  } catch (const py::cast_error&) {
    throw py::type_error("[search] Expected " + name + " to be " + expected + ", got " +
                         std::string(py::repr(value)) + ".");
  }
}

}  // namespace

SearchOptions search_options_from_dict(const py::dict& dict) {
  SearchOptions o;
  for (const auto& item : dict) {
    const auto name = item.first.cast<std::string>();
    const py::handle value = item.second;
    const auto integer = [&](auto& field) { assign(field, name, value, "an integer"); };
    const auto number = [&](double& field) { assign(field, name, value, "a number"); };
    if (name == "beam_size")
      integer(o.beam_size);
    else if (name == "patience")
      number(o.patience);
    else if (name == "num_hypotheses")
      integer(o.num_hypotheses);
    else if (name == "length_penalty")
      number(o.length_penalty);
    else if (name == "min_decoding_length")
      integer(o.min_decoding_length);
    else if (name == "max_decoding_length")
      integer(o.max_decoding_length);
    else if (name == "return_attention")
      assign(o.return_attention, name, value, "a bool");
    else if (name == "start_token")
      integer(o.start_token);
    else if (name == "end_tokens")
      assign(o.end_tokens, name, value, "a list of integers");
    else
      throw py::value_error("[search] There is no option " + name + ".");
  }
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

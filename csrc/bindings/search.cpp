#include "bindings/search.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "bindings/py_listener.h"
#include "bindings/py_scorer.h"
#include "bindings/py_stepper.h"
#include "core/error.h"
#include "search/trie.h"

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

// Pairs as in Pharaoh's format: the place in the source, then that in the output.
std::optional<std::vector<std::pair<int64_t, int64_t>>> alignment(const Hypothesis& h) {
  if (!h.attention || h.source_length == 0) return std::nullopt;
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (int64_t t = 0; t < static_cast<int64_t>(h.tokens.size()); ++t) {
    const float* weights = h.attention->data() + t * h.source_length;
    pairs.emplace_back(std::max_element(weights, weights + h.source_length) - weights, t);
  }
  return pairs;
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
      .def_property_readonly("alignment", &alignment,
                             "list[tuple[int, int]]: for each token (the end token is none) the place of the "
                             "source with the largest weight, and its own; None without attention.")
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
constexpr const char* kTypeName<std::string> = "a string";
template <>
constexpr const char* kTypeName<std::optional<double>> = "a number or None";
template <>
constexpr const char* kTypeName<std::vector<int64_t>> = "a list of integers";
template <>
constexpr const char* kTypeName<std::vector<std::vector<int32_t>>> = "a list of lists of integers";
template <>
constexpr const char* kTypeName<std::vector<std::vector<std::vector<int32_t>>>> =
    "a list of lists of lists of integers";
using Automata = std::vector<std::shared_ptr<const Automaton>>;
template <>
constexpr const char* kTypeName<Automata> = "a Trie, an Automaton, or a list of them";
template <>
constexpr const char* kTypeName<std::vector<int32_t>> = "a list of integers";
using OptionalIds = std::optional<std::vector<int32_t>>;
template <>
constexpr const char* kTypeName<OptionalIds> = "a list of integers, an int32 array or None";

template <typename T>
using Choices = std::initializer_list<std::pair<const char*, T>>;

constexpr Choices<EarlyStopping> kEarlyStopping = {{"patience", EarlyStopping::patience},
                                                   {"first", EarlyStopping::first},
                                                   {"heuristic", EarlyStopping::heuristic},
                                                   {"never", EarlyStopping::never}};
constexpr Choices<EndRule> kEndRules = {{"replace", EndRule::replace},
                                        {"vacate", EndRule::vacate},
                                        {"shrink", EndRule::shrink},
                                        {"stay", EndRule::stay},
                                        {"proceed", EndRule::proceed}};
constexpr Choices<Unfinished> kUnfinished = {
    {"last", Unfinished::last}, {"equal", Unfinished::equal}, {"unnormalized", Unfinished::unnormalized}};
constexpr Choices<LengthPenalty> kLengthPenalties = {{"power", LengthPenalty::power},
                                                     {"wu", LengthPenalty::wu},
                                                     {"average", LengthPenalty::average},
                                                     {"none", LengthPenalty::none}};
constexpr Choices<CoveragePenalty> kCoveragePenalties = {{"wu", CoveragePenalty::wu},
                                                         {"summary", CoveragePenalty::summary}};

template <typename T>
T chosen(const char* name, const std::string& value, Choices<T> choices) {
  std::string names;
  for (const auto& [text, choice] : choices) {
    if (value == text) return choice;
    names += (names.empty() ? "" : ", ") + std::string(text);
  }
  throw py::value_error(std::string("[search] Expected ") + name + " as one of " + names + ", got " + value +
                        ".");
}

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
      if constexpr (std::is_same_v<T, Automata>) {
        field.clear();
        if (!py::isinstance<py::list>(value)) {
          field.push_back(value.cast<std::shared_ptr<Automaton>>());
          return;
        }
        for (const auto& one : value) {
          field.push_back(one.is_none() ? nullptr : one.cast<std::shared_ptr<Automaton>>());
        }
        return;
      } else {
        field = value.cast<T>();
      }
    } catch (const py::cast_error&) {
      throw py::type_error(std::string("[search] Expected ") + name + " to be " + kTypeName<T> + ", got " +
                           std::string(py::repr(value)) + ".");
    }
  }

  // A function that is told of tokens.
  void operator()(const char* name, std::shared_ptr<Listener>& field) {
    known_.insert(name);
    if (!dict_.contains(name)) return;
    const py::object value = dict_[name];
    if (!PyCallable_Check(value.ptr())) {
      throw py::type_error(std::string("[search] Expected ") + name + " to be callable, got " +
                           std::string(py::repr(value)) + ".");
    }
    field = std::make_shared<PyListener>(value);
  }

  // Pairs of a function that makes a step function, and a weight.
  void operator()(const char* name, std::vector<std::pair<std::shared_ptr<Scorer>, double>>& field) {
    known_.insert(name);
    if (!dict_.contains(name)) return;
    const py::object value = dict_[name];
    try {
      for (const auto& [make, weight] : value.cast<std::vector<std::pair<py::function, double>>>()) {
        field.emplace_back(std::make_shared<PyScorer>(make), weight);
      }
    } catch (const py::cast_error&) {
      throw py::type_error(std::string("[search] Expected ") + name +
                           " to be a list of pairs of a function and a weight, got " +
                           std::string(py::repr(value)) + ".");
    }
  }

  // A choice by its name.
  template <typename T>
  void operator()(const char* name, T& field, Choices<T> choices) {
    std::string value;
    (*this)(name, value);
    if (dict_.contains(name)) field = chosen(name, value, choices);
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
  read("early_stopping", o.early_stopping, kEarlyStopping);
  read("cap_finished", o.cap_finished);
  read("end_rule", o.end_rule, kEndRules);
  read("unfinished", o.unfinished, kUnfinished);
  read("force_end_token", o.force_end_token);
  read("num_hypotheses", o.num_hypotheses);
  read("length_penalty", o.length_penalty);
  read("length_penalty_type", o.length_penalty_type, kLengthPenalties);
  read("count_end_token", o.count_end_token);
  read("length_offset", o.length_offset);
  read("length_penalty_beta", o.length_penalty_beta);
  read("word_penalty", o.word_penalty);
  read("coverage_penalty", o.coverage_penalty);
  read("coverage_penalty_type", o.coverage_penalty_type, kCoveragePenalties);
  read("coverage_end_token", o.coverage_end_token);
  read("min_decoding_length", o.min_decoding_length);
  read("max_decoding_length", o.max_decoding_length);
  read("ctc_weight", o.ctc_weight);
  read("max_length_ratio", o.max_length_ratio);
  read("max_length_offset", o.max_length_offset);
  read("repetition_penalty", o.repetition_penalty);
  read("no_repeat_ngram_size", o.no_repeat_ngram_size);
  read("suppress_sequences", o.suppress_sequences);
  read("disable_unk", o.disable_unk);
  read("unk_token", o.unk_token);
  read("renormalize", o.renormalize);
  read("target_prefix", o.target_prefix);
  read("must_contain", o.must_contain);
  read("allowed_outputs", o.allowed_outputs);
  read("sampling_topk", o.sampling_topk);
  read("sampling_topp", o.sampling_topp);
  read("min_p", o.min_p);
  read("sampling_temperature", o.sampling_temperature);
  read("seed", o.seed);
  read("sequence_ids", o.sequence_ids);
  read("return_alternatives", o.return_alternatives);
  read("min_alternative_expansion_prob", o.min_alternative_expansion_prob);
  read("num_beam_groups", o.num_beam_groups);
  read("diversity_penalty", o.diversity_penalty);
  read("return_attention", o.return_attention);
  read("callback", o.listener);
  read("scorers", o.scorers);
  read("start_token", o.start_token);
  read("end_tokens", o.end_tokens);
  read("vocabulary", o.vocabulary);
  read.refuse_others();
  return o;
}

void bind_automata(py::module_& m) {
  py::class_<Automaton, std::shared_ptr<Automaton>>(m, "Automaton")
      .def(py::init<std::vector<int64_t>, std::vector<int32_t>, std::vector<int32_t>, std::vector<bool>>(),
           py::arg("begins"), py::arg("tokens"), py::arg("targets"), py::arg("accepts"))
      .def_property_readonly("states", &Automaton::states, "How many there are.")
      .def("__contains__",
           [](const Automaton& self, const std::vector<int32_t>& sequence) {
             const int64_t state = self.find(sequence);
             return state >= 0 && self.accepts(state);
           })
      .def(
          "next",
          [](const Automaton& self, const std::vector<int32_t>& beginning) {
            const int64_t state = self.find(beginning);
            const auto tokens = state < 0 ? std::span<const int32_t>() : self.tokens(state);
            return std::vector<int32_t>(tokens.begin(), tokens.end());
          },
          py::arg("beginning"), "The tokens that may follow a beginning, ascending.");
  py::class_<Trie, Automaton, std::shared_ptr<Trie>>(m, "Trie")
      .def(py::init<std::vector<std::vector<int32_t>>>(), py::arg("sequences"), py::call_guard<GilRelease>())
      .def("__len__", &Trie::size, "How many sequences there are.");
}

void bind_search(py::module_& m) {
  bind_hypothesis(m);
  bind_automata(m);
  m.def(
      "beam_search",
      [](const py::object& step, int64_t num_sources, int64_t vocabulary, const py::dict& options,
         bool logits, std::vector<int64_t> source_lengths) {
        PyStepper stepper(step, vocabulary, logits, source_lengths);
        SearchOptions native = search_options_from_dict(options);
        native.source_lengths = std::move(source_lengths);
        check("search", native.ctc_weight == 0,
              "Expected ctc_weight 0 of a search around a step function, got ", native.ctc_weight, ".");
        check("search", !native.vocabulary,
              "Expected no vocabulary of a search around a step function: let it give -inf.");
        GilRelease release;
        return generate(stepper, num_sources, native);
      },
      py::arg("step"), py::arg("num_sources"), py::arg("vocabulary"), py::arg("options"), py::arg("logits"),
      py::arg("source_lengths"), "The search of seq2seq_fast.search.beam_search.");
}

}  // namespace s2s

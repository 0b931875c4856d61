#include <pybind11/stl.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include "bindings/array.h"
#include "bindings/config.h"
#include "bindings/gil.h"
#include "bindings/layer.h"
#include "bindings/module.h"
#include "bindings/search.h"
#include "core/error.h"
#include "model/encoder_stream.h"
#include "model/network.h"
#include "model/session.h"
#include "model/translator.h"
#include "ops/check.h"

namespace s2s {
namespace {

using model::Config;
using model::EncoderStream;
using model::Network;
using model::Session;
using model::Source;
using model::Target;
using model::Translator;

template <class Enum>
void choose(const char* op, const char* field, const std::string& value,
            std::initializer_list<std::pair<const char*, Enum>> choices, Enum& out) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (value == name) {
      out = choice;
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  check(op, false, "Expected ", field, " as one of ", names, ", got ", value, ".");
}

// "1,2" as its numbers; "" has none.
std::vector<int64_t> numbers(const char* field, const std::string& text) {
  std::vector<int64_t> all;
  for (size_t begin = 0; begin <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value);
    check("Seq2SeqConfig", error == std::errc() && stop == text.data() + end, "Expected ", field,
          " as numbers with commas between them, got ", text, ".");
    all.push_back(value);
    begin = end + 1;
  }
  return all;
}

}  // namespace

// One line per field: how a value of Python's configuration enters the native one.
Config config_from(const py::dict& fields) {
  using model::CellKind;
  Config c;
  const auto integer = [](auto& out) {
    return [&out](const py::handle& v) { out = v.cast<std::remove_reference_t<decltype(out)>>(); };
  };
  const auto rate = [](std::optional<float>& out) {  // or None
    return [&out](const py::handle& v) {
      if (!v.is_none()) out = v.cast<float>();
    };
  };
  const auto cell = [](const char* field, CellKind& out) {
    return [=, &out](const py::handle& v) {
      choose<CellKind>("Seq2SeqConfig", field, v.cast<std::string>(),
                       {{"lstm", CellKind::lstm}, {"gru", CellKind::gru}}, out);
    };
  };
  const std::map<std::string, std::function<void(const py::handle&)>> readers = {
      {"source_vocab_size", integer(c.source_vocab_size)},
      {"source_features", integer(c.source_features)},
      {"target_vocab_size", integer(c.target_vocab_size)},
      {"target_features", integer(c.target_features)},
      {"source_embedding_dim", integer(c.source_embedding_dim)},
      {"target_embedding_dim", integer(c.target_embedding_dim)},
      {"encoder_cell", cell("encoder_cell", c.encoder_cell)},
      {"decoder_cell", cell("decoder_cell", c.decoder_cell)},
      {"encoder_layers", integer(c.encoder_layers)},
      {"decoder_layers", integer(c.decoder_layers)},
      {"encoder_hidden", integer(c.encoder_hidden)},
      {"decoder_hidden", integer(c.decoder_hidden)},
      {"bidirectional", integer(c.bidirectional)},
      {"context",
       [&](const py::handle& v) {
         using model::ContextKind;
         choose<ContextKind>("Seq2SeqConfig", "context", v.cast<std::string>(),
                             {{"attention", ContextKind::attention},
                              {"last", ContextKind::last},
                              {"mean", ContextKind::mean}},
                             c.context);
       }},
      {"attention_score",
       [&](const py::handle& v) {
         using model::ScoreKind;
         choose<ScoreKind>(
             "Seq2SeqConfig", "attention_score", v.cast<std::string>(),
             {{"dot", ScoreKind::dot}, {"general", ScoreKind::general}, {"mlp", ScoreKind::mlp}}, c.score);
       }},
      {"attention_dim", integer(c.attention_dim)},
      {"input_feeding", integer(c.input_feeding)},
      {"bridge",
       [&](const py::handle& v) {
         using model::BridgeKind;
         choose<BridgeKind>(
             "Seq2SeqConfig", "bridge", v.cast<std::string>(),
             {{"copy", BridgeKind::copy}, {"dense", BridgeKind::dense}, {"zero", BridgeKind::zero}},
             c.bridge);
       }},
      {"tie_output", integer(c.tie_output)},
      {"reset_after", integer(c.reset_after)},
      {"copy_attention", integer(c.copy_attention)},
      {"coverage", integer(c.coverage)},
      {"coverage_loss", integer(c.coverage_loss)},
      {"location_filters", integer(c.location_filters)},
      {"location_width", integer(c.location_width)},
      {"location_cumulative", integer(c.location_cumulative)},
      {"encoder_pyramid",
       [&](const py::handle& v) { c.encoder_pyramid = numbers("encoder_pyramid", v.cast<std::string>()); }},
      {"pyramid_skips", integer(c.pyramid_skips)},
      {"conv_layers", integer(c.conv_layers)},
      {"conv_channels", integer(c.conv_channels)},
      {"conv_width", integer(c.conv_width)},
      {"conv_stride", integer(c.conv_stride)},
      {"ctc_weight", integer(c.ctc_weight)},
      {"dropout", integer(c.dropout)},
      {"embedding_dropout", rate(c.embedding_dropout)},
      {"output_dropout", rate(c.output_dropout)},
      {"variational_dropout", integer(c.variational_dropout)},
      {"residual", integer(c.residual)},
      {"layer_norm", integer(c.layer_norm)},
      {"share_embeddings", integer(c.share_embeddings)},
      {"share_recurrence", integer(c.share_recurrence)},
      {"word_dropout", integer(c.word_dropout)},
      {"zoneout_hidden", integer(c.zoneout_hidden)},
      {"zoneout_cell", integer(c.zoneout_cell)},
      {"source_unk_id", integer(c.source_unk_id)},
      {"bos_id", integer(c.bos_id)},
      {"eos_id", integer(c.eos_id)},
      {"unk_id", integer(c.unk_id)},
      {"pad_id", integer(c.pad_id)},
  };
  for (const auto& [key, value] : fields) {
    const auto name = key.cast<std::string>();
    const auto reader = readers.find(name);
    check("Seq2SeqConfig", reader != readers.end(), "There is no field ", name, ".");
    try {
      reader->second(value);
    } catch (const py::cast_error&) {
      throw type_error(text("[Seq2SeqConfig] Expected ", name, " of another type than ",
                            std::string(py::str(py::type::of(value).attr("__name__"))), "."));
    }
  }
  return c;
}

namespace {

Source source_from(const Network& network, const char* op, const py::object& values,
                   const py::object& lengths, const py::object& copies) {
  return {network.config().tokens_in() ? ids({op, "source"}, values) : floats({op, "source"}, values),
          ids({op, "source_lengths"}, lengths), copies.is_none() ? Tensor() : ids({op, "copies"}, copies)};
}

Target target_from(const char* op, const py::object& values, const py::object& lengths) {
  return {ids({op, "target"}, values), ids({op, "target_lengths"}, lengths)};
}

// The two calls that a network and a translator of it share.

template <class Model>
SearchResults generate(Model& model, const Network& network, const py::object& source,
                       const py::object& source_lengths, const py::dict& options, const py::object& copies) {
  const Source s = source_from(network, "generate", source, source_lengths, copies);
  const SearchOptions o = search_options_from_dict(options);
  GilRelease unlocked;
  return model.generate(s, o);
}

template <class Model>
py::object score(Model& model, const Network& network, const py::object& source,
                 const py::object& source_lengths, const py::object& target, const py::object& target_lengths,
                 const py::object& copies) {
  const Source s = source_from(network, "score", source, source_lengths, copies);
  const Target t = target_from("score", target, target_lengths);
  Tensor nll;
  {
    GilRelease unlocked;
    nll = model.score(s, t);
    for (int64_t i = 0; i < nll.size(); ++i) nll.f32()[i] = -nll.f32()[i];
  }
  return numpy_from(nll);
}

// What only a model that is trained has.
void require_trainable(const char* op, const Network& network) {
  if (!network.parameters().trainable()) {
    throw std::runtime_error(text("[", op, "] This model is not trainable."));
  }
}

void check_smoothing(const char* op, double value) {
  check(op, value >= 0.0 && value <= 1.0, "Expected label_smoothing from 0 to 1, got ", value, ".");
}

}  // namespace

void bind_model(py::module_& m) {
  py::class_<Network, std::shared_ptr<Network>>(m, "Model")
      .def(py::init([](const py::dict& config, const std::string& compute_type, bool trainable,
                       const std::string& device) {
             return std::make_shared<Network>(config_from(config), trainable,
                                              ops::parse_compute_type("Model", compute_type),
                                              device_from(device));
           }),
           py::arg("config"), py::arg("compute_type") = "float32", py::arg("trainable") = true,
           py::arg("device") = "cpu")
      .def_static(
          "declared_layout",
          [](const py::dict& config) { return layout_of(Network::declared(config_from(config))); },
          py::arg("config"))
      .def_property_readonly("device", [](const Network& self) { return name_of(self.device()); })
      .def_property_readonly("compute_type", [](const Network& self) { return name_of(self.compute_type()); })
      .def("layout", [](const Network& self) { return layout_of(self.parameters()); })
      .def("state", [](const Network& self) { return copies_of(self.parameters()); })
      .def_property_readonly("params",
                             [](Network& self) {
                               require_trainable("params", self);
                               self.watch();
                               return numpy_from(self.parameters().values());
                             })
      .def_property_readonly("grads",
                             [](const Network& self) {
                               require_trainable("grads", self);
                               return numpy_from(self.parameters().gradients());
                             })
      .def("weights_changed", &Network::weights_changed)
      .def("set_frozen", &Network::set_frozen, py::arg("name"), py::arg("frozen"))
      .def_property_readonly("frozen",
                             [](const Network& self) {
                               py::list names;
                               for (const model::ParameterView& p : self.parameters().layout()) {
                                 if (p.frozen) names.append(p.name);
                               }
                               return names;
                             })
      .def("load_parameter",
           [](Network& self, const std::string& name, const py::object& value) {
             load_parameter(self.parameters(), name, value);
             self.weights_changed();
           })
      .def(
          "forward_backward",
          [](Network& self, const py::object& source, const py::object& source_lengths,
             const py::object& target, const py::object& target_lengths, const py::object& example_ids,
             uint32_t update, uint64_t seed, double label_smoothing, const std::string& compute_type,
             double sampling, const py::object& copies) {
            const char* op = "forward_backward";
            const ComputeType type = ops::parse_compute_type(op, compute_type);
            ops::expect_training_type(op, type);
            require_trainable(op, self);
            check_smoothing(op, label_smoothing);
            check(op, sampling >= 0.0 && sampling <= 1.0, "Expected sampling from 0 to 1, got ", sampling,
                  ".");
            const Source s = source_from(self, op, source, source_lengths, copies);
            const Target t = target_from(op, target, target_lengths);
            const Tensor examples = optional_int64s({op, "example_ids"}, example_ids);
            if (examples.defined()) ops::expect(op, "example_ids", examples, s.lengths.shape(), DType::i64);
            model::LossSums sums;
            {
              GilRelease unlocked;
              sums = self.forward_backward(s, t, {seed, update, examples.i64(), static_cast<float>(sampling)},
                                           static_cast<float>(label_smoothing), type);
            }
            return py::make_tuple(sums.loss, sums.tokens, sums.correct);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("target"), py::arg("target_lengths"),
          py::arg("example_ids"), py::arg("update"), py::arg("seed"), py::arg("label_smoothing"),
          py::arg("compute_type"), py::arg("sampling") = 0.0, py::arg("copies") = py::none())
      .def(
          "loss",
          [](const Network& self, const py::object& source, const py::object& source_lengths,
             const py::object& target, const py::object& target_lengths, double label_smoothing,
             const py::object& copies) {
            check_smoothing("loss", label_smoothing);
            const Source s = source_from(self, "loss", source, source_lengths, copies);
            const Target t = target_from("loss", target, target_lengths);
            model::LossSums sums;
            {
              GilRelease unlocked;
              sums = self.loss(s, t, static_cast<float>(label_smoothing));
            }
            return py::make_tuple(sums.loss, sums.nll, sums.tokens, sums.correct);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("target"), py::arg("target_lengths"),
          py::arg("label_smoothing"), py::arg("copies") = py::none())
      .def(
          "score",
          [](const Network& self, const py::object& source, const py::object& source_lengths,
             const py::object& target, const py::object& target_lengths, const py::object& copies) {
            return score(self, self, source, source_lengths, target, target_lengths, copies);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("target"), py::arg("target_lengths"),
          py::arg("copies") = py::none())
      .def(
          "generate",
          [](const Network& self, const py::object& source, const py::object& source_lengths,
             const py::dict& options, const py::object& copies) {
            return generate(self, self, source, source_lengths, options, copies);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("options"), py::arg("copies") = py::none())
      .def(
          "encode",
          [](const std::shared_ptr<Network>& self, const py::object& source, const py::object& source_lengths,
             int64_t max_rows, const py::object& copies) {
            const Source s = source_from(*self, "encode", source, source_lengths, copies);
            GilRelease unlocked;
            return std::make_unique<Session>(self, s, max_rows);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("max_rows"), py::arg("copies") = py::none());

  py::class_<EncoderStream>(m, "EncoderStream")
      .def(py::init([](const std::shared_ptr<Network>& network) {
             GilRelease unlocked;
             return std::make_unique<EncoderStream>(network);
           }),
           py::arg("model"))
      .def("push",
           [](EncoderStream& self, const py::object& values) {
             const Argument argument{"EncoderStream", "values"};
             const Tensor x =
                 self.network()->config().tokens_in() ? ids(argument, values) : floats(argument, values);
             Tensor states;
             {
               GilRelease unlocked;
               states = self.push(x);
             }
             return numpy_from(states);
           })
      .def("finish",
           [](EncoderStream& self) {
             Tensor states;
             {
               GilRelease unlocked;
               states = self.finish();
             }
             return numpy_from(states);
           })
      .def(
          "encode",
          [](const EncoderStream& self, int64_t max_rows) {
            GilRelease unlocked;
            return std::make_unique<Session>(self.network(), self.memory(), max_rows);
          },
          py::arg("max_rows"))
      .def(
          "generate",
          [](const EncoderStream& self, const py::dict& options) {
            const SearchOptions o = search_options_from_dict(options);
            GilRelease unlocked;
            return self.network()->generate(self.memory(), self.source_lengths(), o);
          },
          py::arg("options"));

  py::class_<Translator>(m, "Translator")
      .def(py::init([](std::vector<std::shared_ptr<Network>> models, const std::string& mean,
                       int64_t inter_threads, int intra_threads) {
             using model::EnsembleMean;
             EnsembleMean of = EnsembleMean::probability;
             choose<EnsembleMean>("Translator", "ensemble_mean", mean,
                                  {{"probability", EnsembleMean::probability},
                                   {"log_probability", EnsembleMean::log_probability}},
                                  of);
             GilRelease unlocked;
             return std::make_unique<Translator>(std::move(models), of, inter_threads, intra_threads);
           }),
           py::arg("models"), py::arg("ensemble_mean"), py::arg("inter_threads"), py::arg("intra_threads"))
      .def(
          "generate",
          [](Translator& self, const py::object& source, const py::object& source_lengths,
             const py::dict& options, const py::object& copies) {
            return generate(self, self.network(), source, source_lengths, options, copies);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("options"), py::arg("copies") = py::none())
      .def(
          "score",
          [](Translator& self, const py::object& source, const py::object& source_lengths,
             const py::object& target, const py::object& target_lengths, const py::object& copies) {
            return score(self, self.network(), source, source_lengths, target, target_lengths, copies);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("target"), py::arg("target_lengths"),
          py::arg("copies") = py::none())
      .def(
          "start",
          [](Translator& self, const py::object& source, const py::object& source_lengths,
             const py::object& copies) {
            const Source s = source_from(self.network(), "start", source, source_lengths, copies);
            GilRelease unlocked;
            return self.start(s);
          },
          py::arg("source"), py::arg("source_lengths"), py::arg("copies") = py::none())
      .def_property_readonly("queued", &Translator::queued)
      .def_property_readonly("active", &Translator::active);
}

}  // namespace s2s

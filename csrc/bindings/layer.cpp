#include "model/layer.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "bindings/array.h"
#include "bindings/gil.h"
#include "bindings/layer.h"
#include "bindings/module.h"
#include "core/error.h"
#include "ops/check.h"

namespace s2s {
namespace {

using model::Layer;

std::unique_ptr<Layer> make_layer(const std::string& cell, int64_t input_size, int64_t hidden_size,
                                  int64_t num_layers, bool bias, bool bidirectional, bool reset_after,
                                  float dropout, const std::string& compute_type, const std::string& device) {
  check("layer", cell == "lstm" || cell == "gru", "Expected cell lstm or gru, got ", cell, ".");
  const auto kind = cell == "lstm" ? model::CellKind::lstm : model::CellKind::gru;
  return std::make_unique<Layer>(
      model::StackConfig{{kind, input_size, hidden_size, bias, reset_after}, num_layers, bidirectional},
      dropout, ops::parse_compute_type(cell.c_str(), compute_type), device_from(device));
}

}  // namespace

py::list layout_of(const model::Parameters& parameters) {
  py::list layout;
  for (const model::ParameterView& p : parameters.layout()) {
    py::tuple shape(p.shape.rank());
    for (int i = 0; i < p.shape.rank(); ++i) shape[static_cast<size_t>(i)] = p.shape[i];
    layout.append(py::make_tuple(p.name, shape, p.offset, p.decay));
  }
  return layout;
}

namespace {

Tensor held(const model::Parameters& parameters, const std::string& name) {
  const Tensor value = parameters.value(name);
  if (!value.defined()) throw std::runtime_error("[parameters] A translator has released " + name + ".");
  return value;
}

}  // namespace

py::dict copies_of(const model::Parameters& parameters) {
  py::dict copies;
  for (const model::ParameterView& p : parameters.layout()) {
    const Tensor copy = Tensor::host(p.shape, DType::f32);
    copy.copy_from(held(parameters, p.name));
    copies[p.name.c_str()] = numpy_from(copy);
  }
  return copies;
}

void load_parameter(const model::Parameters& parameters, const std::string& name, const py::object& value) {
  const Tensor from = floats({"load", name.c_str()}, value), to = held(parameters, name);
  ops::expect("load", name.c_str(), from, to.shape());
  to.copy_from(from);
}

namespace {

py::tuple infer_on_device(const Layer& layer, const Tensor& x, const Tensor& h0, const Tensor& c0,
                          const Shape& y_shape, const Shape& state_shape) {
  Layer::Output out;
  {
    GilRelease unlocked;
    const DeviceScope scope(layer.device());
    out.y = Tensor::empty(y_shape);
    out.hn = Tensor::empty(state_shape);
    if (layer.config().cell.kind == model::CellKind::lstm) out.cn = Tensor::empty(state_shape);
    layer.infer(x, h0, c0, out);
  }
  const py::object y = numpy_from(out.y), hn = numpy_from(out.hn);
  if (!out.cn.defined()) return py::make_tuple(y, hn);
  return py::make_tuple(y, py::make_tuple(hn, numpy_from(out.cn)));
}

}  // namespace

void bind_layer(py::module_& m) {
  py::class_<Layer::Saved>(m, "LayerSaved");
  py::class_<Layer>(m, "Layer")
      .def(py::init(&make_layer), py::arg("cell"), py::arg("input_size"), py::arg("hidden_size"),
           py::arg("num_layers"), py::arg("bias"), py::arg("bidirectional"), py::arg("reset_after"),
           py::arg("dropout"), py::arg("compute_type") = "float32", py::arg("device") = "cpu")
      .def_property_readonly("compute_type", [](const Layer& self) { return name_of(self.compute_type()); })
      .def_property_readonly("device", [](const Layer& self) { return name_of(self.device()); })
      .def("layout", [](const Layer& self) { return layout_of(self.parameters()); })
      .def("state", [](const Layer& self) { return copies_of(self.parameters()); })
      .def("load_parameter",
           [](Layer& self, const std::string& name, const py::object& value) {
             load_parameter(self.parameters(), name, value);
             self.weights_changed();
           })
      .def_property_readonly("params",
                             [](Layer& self) {
                               self.watch();
                               return numpy_from(self.parameters().values());
                             })
      .def_property_readonly("grads",
                             [](const Layer& self) { return numpy_from(self.parameters().gradients()); })
      .def("weights_changed", &Layer::weights_changed)
      .def("infer",
           [](const Layer& self, const py::object& x, const py::object& h0,
              const py::object& c0) -> py::tuple {
             const char* op = self.config().cell.kind == model::CellKind::lstm ? "lstm" : "gru";
             const auto state = [&](const char* name, const py::object& array) {
               return array.is_none() ? Tensor() : borrowed_floats({op, name}, array);
             };
             const Tensor in = borrowed_floats({op, "x"}, x), h = state("h0", h0), c = state("c0", c0);
             const auto [y_shape, state_shape] = self.output_shapes(in);
             if (!self.device().is_cpu()) return infer_on_device(self, in, h, c, y_shape, state_shape);
             const auto [y, y_memory] = new_floats(y_shape);
             const auto [hn, h_memory] = new_floats(state_shape);
             if (self.config().cell.kind == model::CellKind::gru) {
               {
                 GilRelease unlocked;
                 self.infer(in, h, c, {y_memory, h_memory, {}});
               }
               return py::make_tuple(y, hn);
             }
             const auto [cn, c_memory] = new_floats(state_shape);
             {
               GilRelease unlocked;
               self.infer(in, h, c, {y_memory, h_memory, c_memory});
             }
             return py::make_tuple(y, py::make_tuple(hn, cn));
           })
      .def(
          "forward",
          [](const Layer& self, const py::object& x, const py::object& lengths, const py::object& h0,
             const py::object& c0, bool train, uint64_t seed, uint32_t update) {
            const char* op = self.config().cell.kind == model::CellKind::lstm ? "lstm" : "gru";
            const Tensor in = floats({op, "x"}, x), n = optional_ids({op, "lengths"}, lengths),
                         h = optional_floats({op, "h0"}, h0), c = optional_floats({op, "c0"}, c0);
            auto saved = train ? std::make_unique<Layer::Saved>() : nullptr;
            Layer::Output out;
            {
              GilRelease unlocked;
              out = self.forward(in, n, h, c, seed, update, saved.get());
            }
            return py::make_tuple(numpy_from(out.y), numpy_from(out.hn), numpy_from(out.cn),
                                  saved ? py::cast(std::move(saved)) : py::none());
          },
          py::arg("x"), py::arg("lengths"), py::arg("h0"), py::arg("c0"), py::arg("train"), py::arg("seed"),
          py::arg("update"))
      .def(
          "backward",
          [](const Layer& self, Layer::Saved& saved, const py::object& dy, const py::object& dhn,
             const py::object& dcn) {
            const char* op =
                self.config().cell.kind == model::CellKind::lstm ? "lstm_backward" : "gru_backward";
            const Tensor d = optional_floats({op, "dy"}, dy), h = optional_floats({op, "dhn"}, dhn),
                         c = optional_floats({op, "dcn"}, dcn);
            Layer::Gradient g;
            {
              GilRelease unlocked;
              g = self.backward(saved, d, h, c);
            }
            return py::make_tuple(numpy_from(g.dx), numpy_from(g.dh0), numpy_from(g.dc0));
          },
          py::arg("saved"), py::arg("dy"), py::arg("dhn"), py::arg("dcn"));
}

}  // namespace s2s

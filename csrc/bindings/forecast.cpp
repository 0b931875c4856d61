#include <pybind11/stl.h>

#include "bindings/array.h"
#include "bindings/config.h"
#include "bindings/gil.h"
#include "bindings/layer.h"
#include "bindings/module.h"
#include "core/error.h"
#include "model/forecast_network.h"
#include "ops/check.h"

namespace s2s {
namespace {

using model::ForecastConfig;
using model::ForecastNetwork;
using model::Windows;

ForecastConfig forecast_config_from(const py::dict& network, const std::string& distribution,
                                    int64_t channels, const std::vector<float>& levels,
                                    const std::vector<int64_t>& lags, int64_t covariates, int64_t skip_inputs,
                                    int64_t skip_outputs) {
  return {config_from(network),
          ops::parse_distribution("ForecastConfig", distribution),
          channels,
          levels,
          lags,
          covariates,
          skip_inputs,
          skip_outputs};
}

// {name: array}; what is not there is undefined.
Windows windows_from(const char* op, const py::dict& arrays) {
  const auto get = [&](const char* name) -> py::object {
    return arrays.contains(name) ? py::object(arrays[name]) : py::none();
  };
  Windows w;
  w.past = {floats({op, "past"}, get("past")), ids({op, "past_lengths"}, get("past_lengths")), {}};
  w.steps = get("steps").cast<int64_t>();
  w.known = optional_floats({op, "known"}, get("known"));
  w.covariates = optional_floats({op, "covariates"}, get("covariates"));
  w.target = optional_floats({op, "target"}, get("target"));
  w.offset = optional_floats({op, "offset"}, get("offset"));
  w.scale = optional_floats({op, "scale"}, get("scale"));
  w.window = optional_floats({op, "window"}, get("window"));
  w.example_ids = optional_int64s({op, "example_ids"}, get("example_ids"));
  return w;
}

py::tuple sums_of(const model::ForecastLoss& sums) {
  return py::make_tuple(sums.loss, sums.values);
}

// Levels are checked, and so come from the host.
ops::DistributionOf distribution_of(const char* op, const std::string& kind, const py::object& levels,
                                    const py::object& offset, const py::object& scale) {
  return {ops::parse_distribution(op, kind), optional_floats({op, "levels"}, levels).to(Device::cpu()),
          optional_floats({op, "offset"}, offset), optional_floats({op, "scale"}, scale)};
}

void bind_distribution(py::module_& m) {
  m.def("distribution_loss",
        [](const py::object& x, const py::object& target, const std::string& kind, const py::object& levels,
           const py::object& offset, const py::object& scale, float gradient_scale) {
          const char* op = "distribution_loss";
          const Tensor a = floats({op, "x"}, x), y = floats({op, "target"}, target);
          const ops::DistributionOf of = distribution_of(op, kind, levels, offset, scale);
          const DeviceScope scope(a.device());
          const Tensor losses = Tensor::empty(y.shape()), dx = Tensor::empty(a.shape());
          {
            GilRelease unlocked;
            ops::distribution_loss(a, of, y, gradient_scale, losses, dx);
          }
          return py::make_tuple(numpy_from(losses), numpy_from(dx));
        });
  m.def("distribution_parameters", [](const py::object& x, int64_t channels, const std::string& kind,
                                      const py::object& levels, const py::object& offset) {
    const char* op = "distribution_parameters";
    const Tensor a = floats({op, "x"}, x);
    const ops::DistributionOf of = distribution_of(op, kind, levels, offset, py::none());
    const DeviceScope scope(a.device());
    const Tensor y = Tensor::empty(a.shape());
    {
      GilRelease unlocked;
      ops::distribution_parameters(a, of, channels, y);
    }
    return numpy_from(y);
  });
  m.def("distribution_sample",
        [](const py::object& x, int64_t channels, const std::string& kind, const py::object& levels,
           const py::object& offset, const py::object& scale, const py::object& example,
           const py::object& path, int32_t step, uint64_t seed) {
          const char* op = "distribution_sample";
          const Tensor a = floats({op, "x"}, x);
          const ops::DistributionOf of = distribution_of(op, kind, levels, offset, scale);
          const Tensor e = int64s({op, "example"}, example), p = ids({op, "path"}, path);
          ops::expect_matrix(op, "x", a);
          const DeviceScope scope(a.device());
          const Tensor y = Tensor::empty({a.dim(0), channels});
          {
            GilRelease unlocked;
            ops::distribution_sample(a, of, e.to(a.device()), p.to(a.device()), step, seed, y);
          }
          return numpy_from(y);
        });
}

}  // namespace

void bind_forecast(py::module_& m) {
  bind_distribution(m);
  py::class_<ForecastNetwork>(m, "ForecastNetwork")
      .def(py::init([](const py::dict& network, const std::string& distribution, int64_t channels,
                       const std::vector<float>& levels, const std::vector<int64_t>& lags, int64_t covariates,
                       int64_t skip_inputs, int64_t skip_outputs, const std::string& compute_type,
                       bool trainable, const std::string& device) {
             return std::make_unique<ForecastNetwork>(
                 forecast_config_from(network, distribution, channels, levels, lags, covariates, skip_inputs,
                                      skip_outputs),
                 trainable, ops::parse_compute_type("ForecastNetwork", compute_type), device_from(device));
           }),
           py::arg("network"), py::arg("distribution"), py::arg("channels"), py::arg("levels"),
           py::arg("lags"), py::arg("covariates"), py::arg("skip_inputs"), py::arg("skip_outputs"),
           py::arg("compute_type") = "float32", py::arg("trainable") = true, py::arg("device") = "cpu")
      .def_static(
          "declared_layout",
          [](const py::dict& network, const std::string& distribution, int64_t channels,
             const std::vector<float>& levels, const std::vector<int64_t>& lags, int64_t covariates,
             int64_t skip_inputs, int64_t skip_outputs) {
            return layout_of(ForecastNetwork::declared(forecast_config_from(
                network, distribution, channels, levels, lags, covariates, skip_inputs, skip_outputs)));
          },
          py::arg("network"), py::arg("distribution"), py::arg("channels"), py::arg("levels"),
          py::arg("lags"), py::arg("covariates"), py::arg("skip_inputs"), py::arg("skip_outputs"))
      .def_property_readonly("device", [](const ForecastNetwork& self) { return name_of(self.device()); })
      .def_property_readonly("compute_type",
                             [](const ForecastNetwork& self) { return name_of(self.compute_type()); })
      .def("layout", [](const ForecastNetwork& self) { return layout_of(self.parameters()); })
      .def("state", [](const ForecastNetwork& self) { return copies_of(self.parameters()); })
      .def_property_readonly("params",
                             [](ForecastNetwork& self) {
                               if (!self.parameters().trainable())
                                 throw std::runtime_error("[params] This model is not trainable.");
                               self.watch();
                               return numpy_from(self.parameters().values());
                             })
      .def_property_readonly("grads",
                             [](const ForecastNetwork& self) {
                               if (!self.parameters().trainable())
                                 throw std::runtime_error("[grads] This model is not trainable.");
                               return numpy_from(self.parameters().gradients());
                             })
      .def("weights_changed", &ForecastNetwork::weights_changed)
      .def("set_frozen", &ForecastNetwork::set_frozen, py::arg("name"), py::arg("frozen"))
      .def("load_parameter",
           [](ForecastNetwork& self, const std::string& name, const py::object& value) {
             load_parameter(self.parameters(), name, value);
             self.weights_changed();
           })
      .def(
          "forward_backward",
          [](ForecastNetwork& self, const py::dict& windows, uint32_t update, uint64_t seed,
             const std::string& compute_type) {
            const char* op = "forward_backward";
            const ComputeType type = ops::parse_compute_type(op, compute_type);
            ops::expect_training_type(op, type);
            if (!self.parameters().trainable())
              throw std::runtime_error("[forward_backward] This model is not trainable.");
            const Windows w = windows_from(op, windows);
            model::ForecastLoss sums;
            {
              GilRelease unlocked;
              sums = self.forward_backward(w, seed, update, type);
            }
            return sums_of(sums);
          },
          py::arg("windows"), py::arg("update"), py::arg("seed"), py::arg("compute_type"))
      .def("loss",
           [](const ForecastNetwork& self, const py::dict& windows) {
             const Windows w = windows_from("loss", windows);
             model::ForecastLoss sums;
             {
               GilRelease unlocked;
               sums = self.loss(w);
             }
             return sums_of(sums);
           })
      .def("distributions",
           [](const ForecastNetwork& self, const py::dict& windows) {
             const Windows w = windows_from("distributions", windows);
             Tensor out;
             {
               GilRelease unlocked;
               out = self.distributions(w);
             }
             return numpy_from(out);
           })
      .def(
          "sample",
          [](const ForecastNetwork& self, const py::dict& windows, int64_t paths, uint64_t seed) {
            const Windows w = windows_from("sample", windows);
            Tensor out;
            {
              GilRelease unlocked;
              out = self.sample(w, paths, seed);
            }
            return numpy_from(out);
          },
          py::arg("windows"), py::arg("paths"), py::arg("seed"));
}

}  // namespace s2s

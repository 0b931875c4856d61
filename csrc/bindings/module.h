// The parts of the extension module.
#pragma once

#include <pybind11/pybind11.h>

namespace s2s {
void bind_runtime(pybind11::module_& m);
void bind_device_array(pybind11::module_& m);
void bind_ops(pybind11::module_& m);
void bind_optimizers(pybind11::module_& m);
void bind_forecast(pybind11::module_& m);
void bind_layer(pybind11::module_& m);
void bind_model(pybind11::module_& m);
}  // namespace s2s

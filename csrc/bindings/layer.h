// What the bindings of layers and models share.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "model/parameters.h"

namespace s2s {
// [(name, shape, offset in floats, decay)] of a flat buffer.
pybind11::list layout_of(const model::Parameters& parameters);
// {name: a copy}
pybind11::dict copies_of(const model::Parameters& parameters);
void load_parameter(const model::Parameters& parameters, const std::string& name,
                    const pybind11::object& value);
}  // namespace s2s

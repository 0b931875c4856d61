// What the bindings of layers and models share.
#pragma once

#include <pybind11/pybind11.h>

#include "model/parameters.h"

namespace s2s {
// [(name, shape, offset in floats, decay)] of a flat buffer.
pybind11::list layout_of(const model::Parameters& parameters);
}  // namespace s2s

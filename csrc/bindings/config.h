// The native configuration of a network from Python's fields.
#pragma once

#include <pybind11/pybind11.h>

#include "model/config.h"

namespace s2s {
// {field: value}; ValueError and TypeError that name the field.
model::Config config_from(const pybind11::dict& fields);
}  // namespace s2s

// Python's view of model/session.h.
#pragma once

#include <pybind11/pybind11.h>

namespace s2s {

void bind_session(pybind11::module_& m);

}  // namespace s2s

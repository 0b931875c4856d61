// Python's view of csrc/search, for the bindings of everything that generates:
//   [](Model& m, ..., const py::dict& options) { return m.generate(..., search_options_from_dict(options)); }
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>  // generate()'s result becomes a list of lists of Hypothesis

#include "search/generate.h"

namespace s2s {

// Options not in the dict keep their defaults; ValueError for an unknown key, TypeError for a value of a
// wrong type. Values are checked by generate(), when start_token and end_tokens are known.
SearchOptions search_options_from_dict(const pybind11::dict& dict);

void bind_search(pybind11::module_& m);

}  // namespace s2s

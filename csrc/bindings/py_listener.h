// A Listener around a Python function, which runs with the GIL; everything else of the search without.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "bindings/gil.h"
#include "search/certain.h"

namespace s2s {

// listen(source, hypothesis, place, token, log_prob, is_last) -> whether to stop. Its exceptions pass through
// the search unchanged. Made, and let go by the last that has it, with the GIL.
class PyListener final : public Listener {
 public:
  explicit PyListener(pybind11::object listen) : listen_(std::move(listen)) {}

  bool hear(const CertainToken& t) override {
    GilAcquire gil;
    const pybind11::object stop = listen_(t.source, t.hypothesis, t.place, t.token, t.log_prob, t.is_last);
    const int truth = PyObject_IsTrue(stop.ptr());
    if (truth < 0) throw pybind11::error_already_set();
    return truth != 0;
  }

 private:
  const pybind11::object listen_;
};

}  // namespace s2s

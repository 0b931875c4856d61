// numpy arrays <-> tensors. Data are never converted silently, but for ids (int64 -> int32) and for strides
// (made contiguous).
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <utility>

#include "core/tensor.h"

namespace s2s {

namespace py = pybind11;

// What an argument is called in messages: "[op] Expected name ...".
struct Argument {
  const char* op;
  const char* name;
};

// The device of a name: cpu, cuda, cuda:N. ValueError for another name, RuntimeError where it is absent.
Device device_from(const std::string& name);

// An array of any library as a numpy array or, where it lies on a device, as a DeviceArray: of the same
// memory. TypeError for what is no array.
py::object array_object(Argument argument, const py::object& value);

// A float32 array as it is, of the CPU or of a device; TypeError for anything else.
Tensor floats(Argument argument, const py::object& array);
// The same for the duration of a call whose arguments hold the array: where it is contiguous the tensor does
// not keep it alive, which costs an allocation.
Tensor borrowed_floats(Argument argument, const py::object& array);
// int32, or int64 whose values fit; TypeError for anything else.
Tensor ids(Argument argument, const py::object& array);
Tensor int64s(Argument argument, const py::object& array);
// A float32, int32, int64 or uint8 array as it is; TypeError for anything else.
Tensor any_array(Argument argument, const py::object& array);
// The same for None -> undefined.
Tensor optional_floats(Argument argument, const py::object& array);
Tensor optional_ids(Argument argument, const py::object& array);
Tensor optional_int64s(Argument argument, const py::object& array);
// A float32 array whose memory is written: contiguous, writable, not copied.
Tensor writable(Argument argument, const py::object& array);

// A new float32 array, not initialised, and a tensor of its memory, which need not keep it alive.
std::pair<py::array_t<float>, Tensor> new_floats(const Shape& shape);

// A numpy array, or for another device than the CPU a DeviceArray, that shares the tensor's memory and keeps
// it alive; None where undefined.
py::object numpy_from(const Tensor& tensor);

}  // namespace s2s

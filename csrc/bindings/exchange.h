// Arrays of other libraries as tensors and the reverse, without a copy: DLPack and __cuda_array_interface__.
#pragma once

#include "bindings/array.h"

namespace s2s {

// Throw TypeError for a dtype that no op takes, std::invalid_argument for strides or another device.
Tensor from_cuda_array_interface(Argument argument, const py::object& object);
Tensor from_dlpack(Argument argument, const py::object& object);  // undefined where it does not lie on CUDA

// The consumer's `stream` as the protocol numbers it: None, -1 (do not wait), 1, 2 or a pointer.
py::capsule to_dlpack(const Tensor& tensor, const py::object& stream);
py::dict cuda_array_interface(const Tensor& tensor);

}  // namespace s2s

// DeviceArray: what Python sees of a tensor that lies on a device. It speaks DLPack and
// __cuda_array_interface__, so that PyTorch, CuPy and JAX read it where it is, and theirs are read likewise.
#pragma once

#include "bindings/array.h"

namespace s2s {

struct DeviceArray {
  Tensor tensor;
};

// The memory of an array of another library, or of ours; undefined where `object` has neither protocol or
// lies on the CPU. Throws std::invalid_argument for strides and TypeError for other dtypes.
Tensor device_tensor(Argument argument, const py::object& object);

}  // namespace s2s

// The emulated device's memory, for the rest of the emulated runtime API. Not for kernels.
#pragma once

#include <cstddef>
#include <string>

#include "simt_runtime.h"

namespace simt {

// Keeps an error and its sentence for the calling thread; returns the error.
cudaError_t refuse(cudaError_t error, std::string sentence);

bool on_device(const void* p);

// S2S_SIMT_STRICT: the device's memory is the device's. Outside of kernels, copies and memsets it cannot be
// touched, and a kernel's pointers must be to it.
bool strict();

// While one lives, the device's memory can be read and written.
class OnDevice {
 public:
  OnDevice();
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
};

}  // namespace simt

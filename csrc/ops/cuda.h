// The library of the CUDA backend: opened at the first question, where the package has one.
#pragma once

#include <string>

#include "cuda/backend.h"

namespace s2s {

// Throws std::runtime_error that says why there is none: not built, not to be opened, no driver, no device.
const CudaBackend& cuda();

struct CudaStatus {
  bool built = false;   // has this package the library?
  bool loaded = false;  // could it be opened?
  bool emulated = false;
  std::string error;  // why there is no device to be used; empty where there is one
  int driver = 0, runtime = 0;
  int devices = 0;
};
// Never throws.
const CudaStatus& cuda_status();

// What the devices that were used keep for reuse, back to the driver.
void release_cuda_memory();

}  // namespace s2s

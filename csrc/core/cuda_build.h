// What cmake/cuda.cmake decided about the CUDA backend when this package was built.
#pragma once

namespace s2s {

struct CudaBuild {
  bool built;                 // the package has the library of the backend
  bool emulated;              // made for tests: its kernels run on the CPU
  const char* why;            // why it was not built: half a sentence
  const char* compiler;       // "nvcc 13.0.88"
  const char* architectures;  // as CMake writes them: "80-real;90"
};
const CudaBuild& cuda_build();

}  // namespace s2s

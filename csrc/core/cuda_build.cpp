#include "core/cuda_build.h"

#include "cuda_options.h"  // made by cmake/cuda.cmake

namespace s2s {

const CudaBuild& cuda_build() {
  static constexpr CudaBuild build = {S2S_CUDA_BUILT, S2S_CUDA_EMULATED, S2S_CUDA_WHY, S2S_CUDA_COMPILER,
                                      S2S_CUDA_ARCHITECTURES};
  return build;
}

}  // namespace s2s

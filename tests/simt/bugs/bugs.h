// Planted bugs: kernels that come in two versions, a right one and one with a mistake that somebody could
// make. Each mistake must be noticed by at least one build of the emulator (plain, AddressSanitizer,
// ThreadSanitizer), each right version pass in all (tests/test_simt.py).
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "cuda/detail/simt.h"

namespace s2s::cuda {

// Runs a kernel and returns what is wrong with its result, or nothing.
using Check = std::string (*)();
struct Case {
  const char* name;
  Check right, wrong;
};
extern const std::vector<Case> block_cases, grid_cases, cluster_cases, tile_cases;

template <class T>
struct DeviceArray {
  explicit DeviceArray(size_t n, T value = T{}) : size(n), memory(n * sizeof(T)) {
    set(std::vector<T>(n, value));
  }
  explicit DeviceArray(const std::vector<T>& values) : size(values.size()), memory(size * sizeof(T)) {
    set(values);
  }

  void set(const std::vector<T>& values) { copy_to_device(data(), values.data(), size * sizeof(T)); }
  T* data() const { return memory.as<T>(); }
  std::vector<T> get() const {
    std::vector<T> values(size);
    check(cudaMemcpy(values.data(), data(), size * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

  size_t size;
  Scratch memory;
};

template <class T>
std::string expect(const std::vector<T>& got, const std::vector<T>& want, double tolerance = 0) {
  for (size_t i = 0; i < want.size(); ++i)
    if (!(std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i])) <= tolerance))
      return "result " + std::to_string(i) + " is " + std::to_string(got[i]) + ", not " +
             std::to_string(want[i]);
  return "";
}

}  // namespace s2s::cuda

// Memory of the device for the length of one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace s2s::cuda {

// Stream-ordered memory of the current device on the current stream (runtime.cpp; in the emulator a block of
// exactly this size, filled with NaN). Running out throws. Nothing is returned for 0 bytes.
void* device_allocate(size_t bytes);
void device_free(void* p) noexcept;

// Copies host memory to the device in stream order; `host` may change once this has returned.
void copy_to_device(void* device, const void* host, size_t bytes);

// Freed in stream order at the end of its scope: kernels launched before then may use it, whether they have
// run by then or not. 256-byte aligned, not initialised.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(size_t bytes) : data_(bytes > 0 ? device_allocate(bytes) : nullptr) {}
  Scratch(Scratch&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Scratch() {
    if (data_) device_free(data_);
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

// A copy of host[0 .. n) on the device, kept in `memory`.
template <class T>
const T* upload(const T* host, int64_t n, Scratch& memory) {
  memory = Scratch(static_cast<size_t>(n) * sizeof(T));
  if (n > 0) copy_to_device(memory.as<void>(), host, static_cast<size_t>(n) * sizeof(T));
  return memory.as<const T>();
}

}  // namespace s2s::cuda

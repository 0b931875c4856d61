// What the library of the CUDA backend brings, behind the one C function that it exports. Whoever loads it
// compares `abi` and `version` first: all else may have another layout in another build.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/device.h"
#include "ops/kernels.h"

namespace s2s {

constexpr int kCudaAbi = 5;

struct CudaDeviceInfo {
  char name[256];
  int capability;  // 90: 9.0
  int multiprocessors;
  int64_t memory;  // bytes in all
};

struct CudaBackend {
  int abi;
  const char* version;  // S2S_VERSION
  bool emulated;        // built on the emulator of tests/simt
  const Kernels* kernels;
  const DeviceApi* memory;

  // How many devices there are; where none can be used, a sentence in `why` and 0. `driver` and `runtime`:
  // CUDA versions, 1000 major + 10 minor, 0 without a driver. Never throws.
  int (*device_count)(char* why, size_t size, int* driver, int* runtime);
  void (*device_info)(int index, CudaDeviceInfo* info);

  // A stream of this thread's current device; null: the device's default stream, in which PyTorch, too, works
  // unless it is told otherwise. use_stream concerns this thread alone.
  void* (*new_stream)();
  void (*free_stream)(void* stream);
  void* (*current_stream)();
  void (*use_stream)(void* stream);
  // What is enqueued on `later` from now on waits for what is on `earlier` by now.
  void (*order)(void* earlier, void* later);
  int (*device_of)(const void* memory);  // -1: not a device's
  // Gives unused memory of the pools back to the driver.
  void (*release_memory)();
  // Where to look for cuBLAS before the system's own places: a path of libcublas, or null.
  void (*set_cublas)(const char* path);
};

}  // namespace s2s

extern "C" {
const s2s::CudaBackend* s2s_cuda_backend();
}

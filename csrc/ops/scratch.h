// Scratch memory that an op gives its kernel: the thread's own on the CPU. Kernels of other devices take what
// they need from their own pool.
#pragma once

#include "core/device.h"
#include "core/scratch.h"

namespace s2s::ops {

inline void* scratch_on(Device device, int64_t bytes) {
  return device.is_cpu() ? thread_scratch(static_cast<size_t>(bytes)) : nullptr;
}

}  // namespace s2s::ops

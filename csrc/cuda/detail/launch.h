// Launching a kernel, and what the device can hold. Included by simt.h; every error is an exception.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace s2s::cuda {

// The stream on which this thread's calls work (runtime.cpp).
cudaStream_t current_stream();

// Where in the sources something was asked for, for messages. (nvcc's device pass chokes on the builtins.)
struct Site {
#if defined(__CUDA_ARCH__)
  const char* file = "";
  int line = 0;
#else
  const char* file = __builtin_FILE();
  int line = __builtin_LINE();
#endif
};

// Whether kernels may read packed weights before the kernels ahead have ended: in a loop's second step and
// later, since a first step is behind the kernels that packed them (repeat.cpp).
bool weights_stand();

struct Launch {
  dim3 grid, block;
  size_t shared = 0;         // bytes of dynamic shared memory
  unsigned cluster = 1;      // blocks of a cluster, along x
  bool cooperative = false;  // all blocks are on the device at once: they may wait for each other
  bool overlaps = false;     // begins before the kernel ahead has ended: what it does before
                             // simt::wait_for_earlier(), its first statement, needs weights_stand()
  Site site = {};
};

[[noreturn]] inline void fail(cudaError_t error, const Site& site) {
  std::string_view file = site.file;
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
  const std::string op(file.substr(0, file.rfind('.')));
#if defined(__CUDACC__)
  const char* what = cudaGetErrorString(error);
  cudaGetLastError();  // forgotten, unless the device itself has failed
#else
  const char* what = simt::error_text(error);
#endif
  throw std::runtime_error("[" + op + "] CUDA: " + what + " (" + std::string(file) + ":" +
                           std::to_string(site.line) + ")");
}
inline void check(cudaError_t error, Site site = {}) {
  if (error != cudaSuccess) fail(error, site);
}

namespace detail {

// Shared memory beyond 48 KiB and clusters beyond 8 blocks must be asked for, kernel by kernel.
template <class... P>
void allow(void (*kernel)(P...), size_t shared, unsigned cluster, Site site) {
  if (shared > size_t{48} * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
          site);
  if (cluster > 8)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
          site);
}

inline int device_attribute(cudaDeviceAttr attribute, Site site) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), site);
  check(cudaDeviceGetAttribute(&value, attribute, device), site);
  return value;
}

// Whether this device can begin a kernel before the one ahead has ended: from 9.0 on. S2S_CUDA_OVERLAP=0
// forbids it, for measurements.
inline bool can_overlap(Site site) {
  static thread_local int asked = -1;
  static thread_local bool answer = false;
  int device = 0;
  check(cudaGetDevice(&device), site);
  if (device != asked) {
    const char* wanted = std::getenv("S2S_CUDA_OVERLAP");
    answer = !(wanted && std::string_view(wanted) == "0") &&
             device_attribute(cudaDevAttrComputeCapabilityMajor, site) >= 9;
    asked = device;
  }
  return answer;
}

constexpr int kMostAttributes = 3;

// `attributes` (kMostAttributes) must outlive the configuration.
inline cudaLaunchConfig_t configuration(const Launch& l, cudaLaunchAttribute* attributes) {
  cudaLaunchConfig_t c = {};
  c.gridDim = l.grid;
  c.blockDim = l.block;
  c.dynamicSmemBytes = l.shared;
  c.attrs = attributes;
  if (l.cooperative) {
    attributes[c.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[c.numAttrs++].val.cooperative = 1;
  }
  if (l.cluster > 1) {
    attributes[c.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[c.numAttrs].val.clusterDim.x = l.cluster;
    attributes[c.numAttrs].val.clusterDim.y = 1;
    attributes[c.numAttrs++].val.clusterDim.z = 1;
  }
  if (l.overlaps && can_overlap(l.site)) {
    attributes[c.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[c.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  return c;
}

}  // namespace detail

// launch(kernel, {.grid = rows, .block = 128}, arguments...): enqueues on the current stream and returns.
template <class... P, class... A>
void launch(void (*kernel)(P...), const Launch& l, A&&... arguments) {
  detail::allow(kernel, l.shared, l.cluster, l.site);
  cudaLaunchAttribute attributes[detail::kMostAttributes];
  cudaLaunchConfig_t c = detail::configuration(l, attributes);
  c.stream = current_stream();
  check(cudaLaunchKernelEx(&c, kernel, static_cast<P>(arguments)...), l.site);
}

// --- the current device; the driver keeps these figures, so asking is cheap

inline int multiprocessors(Site site = {}) {
  return detail::device_attribute(cudaDevAttrMultiProcessorCount, site);
}
// Bytes of shared memory one block can ask for.
inline int max_shared_per_block(Site site = {}) {
  return detail::device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, site);
}
// 90: 9.0, Hopper.
inline int compute_capability(Site site = {}) {
  return 10 * detail::device_attribute(cudaDevAttrComputeCapabilityMajor, site) +
         detail::device_attribute(cudaDevAttrComputeCapabilityMinor, site);
}

// --- occupancy: some microseconds a question, so keep the answer

// How many blocks of this kernel one multiprocessor holds at once; 0: not even one.
template <class... P>
int max_active_blocks(void (*kernel)(P...), int block, size_t shared, Site site = {}) {
  if (shared > static_cast<size_t>(max_shared_per_block(site))) return 0;
  detail::allow(kernel, shared, 1, site);
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, reinterpret_cast<const void*>(kernel), block,
                                                      shared),
        site);
  return blocks;
}
// How many clusters of l.cluster blocks the device holds at once; 0 where it has no clusters (before Hopper),
// or none of this size. l.grid may be anything.
template <class... P>
int max_active_clusters(void (*kernel)(P...), const Launch& l) {
  if (compute_capability(l.site) < 90 || l.shared > static_cast<size_t>(max_shared_per_block(l.site)))
    return 0;
  detail::allow(kernel, l.shared, l.cluster, l.site);
  Launch one = l;
  one.grid = dim3(l.cluster);
  one.cooperative = false;
  cudaLaunchAttribute attributes[detail::kMostAttributes];
  const cudaLaunchConfig_t c = detail::configuration(one, attributes);
  int clusters = 0;
  const cudaError_t error =
      cudaOccupancyMaxActiveClusters(&clusters, reinterpret_cast<const void*>(kernel), &c);
  if (error == cudaErrorInvalidClusterSize) {
    cudaGetLastError();
    return 0;
  }
  check(error, l.site);
  return clusters;
}

}  // namespace s2s::cuda

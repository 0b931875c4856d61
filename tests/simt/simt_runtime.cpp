// The emulated runtime API: errors, the device and what fits on it, launches.
#include "simt_runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "simt_arena.h"
#include "simt_memory.h"
#include "simt_ptx.h"
#include "simt_state.h"

namespace simt {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string last_sentence;

int by_model(int block, size_t shared) {
  const Device& d = device();
  if (block < 1 || block > 1024 || shared > d.shared_per_block) return 0;
  const int warps = (block + 31) / 32;
  const int threads = d.capability == 80 || d.capability == 90 || d.capability == 100 ? 2048 : 1536;
  const size_t kept_by_the_system = 1024;
  int blocks = std::min(32, threads / (32 * warps));
  blocks = std::min(
      blocks, static_cast<int>((d.shared_per_block + kept_by_the_system) / (shared + kept_by_the_system)));
  return d.blocks_per_multiprocessor > 0 ? std::min(blocks, d.blocks_per_multiprocessor) : blocks;
}

Device from_environment() {
  Device d;
  if (const char* text = std::getenv("S2S_SIMT_MULTIPROCESSORS")) d.multiprocessors = std::atoi(text);
  if (const char* text = std::getenv("S2S_SIMT_CAPABILITY")) d.capability = std::atoi(text);
  return d;
}

}  // namespace

Device& device() {
  static Device d = from_environment();
  return d;
}

const char* error_text(cudaError_t error) {
  return error != cudaSuccess && error == last_error && !last_sentence.empty() ? last_sentence.c_str()
                                                                               : cudaGetErrorString(error);
}

cudaError_t refuse(cudaError_t error, std::string sentence) {
  last_sentence = std::move(sentence);
  return last_error = error;
}

cudaError_t check_pointer(int argument, const void* p) {
  if (!strict() || p == nullptr || arena().contains(p)) return cudaSuccess;
  return refuse(cudaErrorIllegalAddress,
                "argument " + std::to_string(argument) + " is not a pointer to the device's memory");
}

cudaError_t run_kernel(const cudaLaunchConfig_t& launch, Body body, void* argument) {
  unsigned cluster = 1;
  bool cooperative = false, overlaps = false;
  for (unsigned i = 0; i < launch.numAttrs; ++i) {
    const cudaLaunchAttribute& a = launch.attrs[i];
    if (a.id == cudaLaunchAttributeCooperative) cooperative = a.val.cooperative != 0;
    if (a.id == cudaLaunchAttributeProgrammaticStreamSerialization)
      overlaps = a.val.programmaticStreamSerializationAllowed != 0;
    if (a.id == cudaLaunchAttributeClusterDimension) {
      cluster = a.val.clusterDim.x;
      if (a.val.clusterDim.y != 1 || a.val.clusterDim.z != 1)
        return refuse(cudaErrorNotSupported, "the emulator has clusters along x only");
    }
  }
  const dim3 g = launch.gridDim, b = launch.blockDim;
  const uint64_t threads = uint64_t{b.x} * b.y * b.z, blocks = uint64_t{g.x} * g.y * g.z;
  if (threads == 0 || threads > 1024 || b.z > 64 || blocks == 0 || g.x > 0x7fffffffu || g.y > 65535 ||
      g.z > 65535 || launch.dynamicSmemBytes > device().shared_per_block)
    return refuse(cudaErrorInvalidConfiguration,
                  "invalid launch: grid " + std::to_string(g.x) + " x " + std::to_string(g.y) + " x " +
                      std::to_string(g.z) + ", block " + std::to_string(b.x) + " x " + std::to_string(b.y) +
                      " x " + std::to_string(b.z) + ", " + std::to_string(launch.dynamicSmemBytes) +
                      " bytes shared");
  if (cluster == 0 || cluster > 16 || g.x % cluster != 0 || (cluster > 1 && device().capability < 90))
    return refuse(cudaErrorInvalidClusterSize, "invalid cluster of " + std::to_string(cluster) + " blocks");
  const int resident =
      device().multiprocessors * by_model(static_cast<int>(threads), launch.dynamicSmemBytes);
  if (cooperative && blocks > static_cast<uint64_t>(resident))
    return refuse(
        cudaErrorCooperativeLaunchTooLarge,
        std::to_string(blocks) + " blocks are to be resident, but only " + std::to_string(resident) + " fit");
  const OnDevice access;
  threads_that_waited = 0;
  std::string sentence = run_launch(launch, cluster, cooperative, body, argument);
  if (sentence.empty() && overlaps && threads_that_waited != threads * blocks)
    sentence = "the kernel may overlap with the one ahead, but " + std::to_string(threads_that_waited) +
               " of " + std::to_string(threads * blocks) + " threads called wait_for_earlier()";
  return sentence.empty() ? cudaSuccess : refuse(cudaErrorLaunchFailure, std::move(sentence));
}

}  // namespace simt

using simt::refuse;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define S2S_NAME(name) \
  case name:           \
    return #name
    S2S_NAME(cudaSuccess);
    S2S_NAME(cudaErrorInvalidValue);
    S2S_NAME(cudaErrorMemoryAllocation);
    S2S_NAME(cudaErrorInitializationError);
    S2S_NAME(cudaErrorInvalidConfiguration);
    S2S_NAME(cudaErrorInsufficientDriver);
    S2S_NAME(cudaErrorInvalidDeviceFunction);
    S2S_NAME(cudaErrorNoDevice);
    S2S_NAME(cudaErrorInvalidDevice);
    S2S_NAME(cudaErrorInvalidResourceHandle);
    S2S_NAME(cudaErrorNotReady);
    S2S_NAME(cudaErrorIllegalAddress);
    S2S_NAME(cudaErrorLaunchFailure);
    S2S_NAME(cudaErrorCooperativeLaunchTooLarge);
    S2S_NAME(cudaErrorNotSupported);
    S2S_NAME(cudaErrorInvalidClusterSize);
#undef S2S_NAME
    default:
      return "cudaErrorUnknown";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}
cudaError_t cudaGetLastError() {
  return std::exchange(simt::last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return simt::last_error;
}

// --- the device
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : refuse(cudaErrorInvalidDevice, "there is one emulated device");
}
cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return refuse(cudaErrorInvalidDevice, "there is one emulated device");
  const simt::Device& d = simt::device();
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = 48 * 1024;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = d.multiprocessors;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = d.capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = d.capability % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(d.shared_per_block) + 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(d.shared_per_block);
      break;
    case cudaDevAttrClusterLaunch:
      *value = d.capability >= 90;
      break;
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    default:
      return refuse(cudaErrorInvalidValue, "the emulator does not know this device attribute");
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return refuse(cudaErrorInvalidDevice, "there is one emulated device");
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->totalGlobalMem = simt::device().memory;
  properties->major = simt::device().capability / 10;
  properties->minor = simt::device().capability % 10;
  properties->multiProcessorCount = simt::device().multiprocessors;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = simt::device().memory;
  *free = *total - std::min(*total, simt::live_device_bytes());
  return cudaSuccess;
}

// --- occupancy
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int block,
                                                          size_t shared) {
  *blocks = simt::by_model(block, shared);
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void*, const cudaLaunchConfig_t* launch) {
  const dim3 b = launch->blockDim;
  unsigned size = 1;
  for (unsigned i = 0; i < launch->numAttrs; ++i)
    if (launch->attrs[i].id == cudaLaunchAttributeClusterDimension) size = launch->attrs[i].val.clusterDim.x;
  if (size == 0 || size > 16) return refuse(cudaErrorInvalidClusterSize, "invalid cluster size");
  const int each = simt::by_model(static_cast<int>(b.x * b.y * b.z), launch->dynamicSmemBytes);
  const simt::Device& d = simt::device();
  *clusters = d.clusters >= 0 ? d.clusters : d.multiprocessors / static_cast<int>(size) * each;
  return cudaSuccess;
}

// The emulated runtime API: memory as blocks of the heap, streams that have always finished.
#include "simt_runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "simt_sanitizers.h"
#include "simt_state.h"

struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};

namespace simt {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::string last_sentence;

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}
cudaError_t refuse(cudaError_t error, std::string sentence) {
  last_sentence = std::move(sentence);
  return result(error);
}

struct Memory {
  std::mutex mutex;
  std::map<const char*, size_t> blocks;  // of the device, by address
  size_t live = 0;

  // The block that holds p, or null.
  const std::pair<const char* const, size_t>* block_of(const void* p) {
    auto after = blocks.upper_bound(static_cast<const char*>(p));
    if (after == blocks.begin()) return nullptr;
    auto& block = *--after;
    const auto offset = static_cast<size_t>(static_cast<const char*>(p) - block.first);
    return offset < block.second || (offset == 0 && block.second == 0) ? &block : nullptr;
  }
  bool holds(const void* p, size_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto* block = block_of(p);
    return block && static_cast<const char*>(p) + bytes <= block->first + block->second;
  }
  bool is_device(const void* p) {
    const std::lock_guard<std::mutex> lock(mutex);
    return block_of(p) != nullptr;
  }
};
Memory& memory() {
  static auto* m = new Memory;  // outlives every object that frees memory at exit
  return *m;
}

// Each side of a copy must be what its kind says it is.
bool side_fits(const void* p, size_t bytes, bool to_be_device, bool to_be_host) {
  if (memory().is_device(p)) return !to_be_host && memory().holds(p, bytes);
  return !to_be_device;
}
cudaError_t check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool any = kind == cudaMemcpyDefault;
  if (side_fits(to, bytes, to_device, !any && !to_device) &&
      side_fits(from, bytes, from_device, !any && !from_device))
    return cudaSuccess;
  return refuse(cudaErrorInvalidValue,
                "a copy's memory is not where its kind says, or ends before the copy does");
}

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

size_t live_device_bytes() {
  const std::lock_guard<std::mutex> lock(memory().mutex);
  return memory().live;
}

cudaError_t run_kernel(const cudaLaunchConfig_t& launch, Body body, void* argument) {
  unsigned cluster = 1;
  bool cooperative = false;
  for (unsigned i = 0; i < launch.numAttrs; ++i) {
    const cudaLaunchAttribute& a = launch.attrs[i];
    if (a.id == cudaLaunchAttributeCooperative) cooperative = a.val.cooperative != 0;
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
  std::string sentence = run_launch(launch, cluster, cooperative, body, argument);
  return sentence.empty() ? cudaSuccess : refuse(cudaErrorLaunchFailure, std::move(sentence));
}

}  // namespace simt

using simt::memory;
using simt::refuse;
using simt::result;

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
  return device == 0 ? cudaSuccess : result(cudaErrorInvalidDevice);
}
cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return result(cudaErrorInvalidDevice);
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
  if (device != 0) return result(cudaErrorInvalidDevice);
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

// --- streams and events
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(new char);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (reinterpret_cast<uintptr_t>(stream) <= 2) return result(cudaErrorInvalidResourceHandle);
  delete reinterpret_cast<char*>(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t function, void* argument) {
  function(argument);
  return cudaSuccess;
}

// --- memory
cudaError_t cudaMallocBytes_(void** p, size_t bytes) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(memory().mutex);
  if (bytes > simt::device().memory || memory().live > simt::device().memory - bytes)
    return refuse(cudaErrorMemoryAllocation, "out of memory");
  if (posix_memalign(p, 256, bytes) != 0) return refuse(cudaErrorMemoryAllocation, "out of memory");
  std::memset(*p, 0xff, bytes);
  memory().blocks[static_cast<char*>(*p)] = bytes;
  memory().live += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  {
    const std::lock_guard<std::mutex> lock(memory().mutex);
    const auto found = memory().blocks.find(static_cast<char*>(p));
    if (found == memory().blocks.end())
      return refuse(cudaErrorInvalidValue, "freed what is no block of the device");
    memory().live -= found->second;
    memory().blocks.erase(found);
  }
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t) {
  return cudaFree(p);
}
cudaError_t cudaMallocHostBytes_(void** p, size_t bytes) {
  if (posix_memalign(p, 256, bytes) != 0) return refuse(cudaErrorMemoryAllocation, "out of memory");
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t error = simt::check_copy(to, from, bytes, kind)) return error;
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t) {
  if (width > to_pitch || width > from_pitch)
    return refuse(cudaErrorInvalidValue, "a row is longer than its pitch");
  for (size_t i = 0; i < height; ++i)
    if (const cudaError_t error = cudaMemcpy(static_cast<char*>(to) + i * to_pitch,
                                             static_cast<const char*>(from) + i * from_pitch, width, kind))
      return error;
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (!memory().holds(p, bytes))
    return refuse(cudaErrorInvalidValue, "a memset ends beyond its block of the device");
  std::memset(p, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t) {
  return cudaMemset(p, value, bytes);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  const bool on_device = memory().is_device(p);
  *attributes = {on_device ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, on_device ? 0 : -2, nullptr,
                 nullptr};
  if (on_device) attributes->devicePointer = const_cast<void*>(p);
  return cudaSuccess;
}

// --- pools
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = reinterpret_cast<cudaMemPool_t>(1);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) {
  return cudaDeviceGetDefaultMemPool(pool, device);
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  return cudaDeviceGetDefaultMemPool(pool, 0);
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t) {
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  if (attribute < cudaMemPoolAttrReleaseThreshold)
    return refuse(cudaErrorNotSupported, "not an emulated attribute");
  *static_cast<uint64_t*>(value) =
      attribute == cudaMemPoolAttrReleaseThreshold ? ~uint64_t{0} : simt::live_device_bytes();
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) {
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

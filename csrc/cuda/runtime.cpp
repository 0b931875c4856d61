#include "cuda/runtime.h"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <string>

namespace s2s::cuda {
namespace {

constexpr int kMostDevices = 64;

// Of this thread. A stream belongs to a device, so it goes when another device comes.
thread_local int device = -1;
thread_local cudaStream_t stream = nullptr;

class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(size_t bytes) {
    std::snprintf(text_, sizeof(text_), "CUDA device %d has no room for %zu more bytes", device, bytes);
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[96];
};

thread_local Arena* arena = nullptr;

// The steps of a loop are launched ahead of the device: a copy from or to the host would wait for it.
void host_is_free() {
  if (arena && arena->closed()) throw std::logic_error("[repeat] A step copies from or to the host.");
}

// The device's pool keeps what is freed until release_memory(): asking the driver again would wait for the
// device.
std::atomic<bool> keeps[kMostDevices];

void keep_memory(int index) {
  if (index >= kMostDevices || keeps[index].exchange(true)) return;
  cudaMemPool_t pool{};
  check(cudaDeviceGetDefaultMemPool(&pool, index));
  uint64_t all = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all));
}

}  // namespace

void use(int index) {
  int current = -1;  // another library may have chosen one since
  check(cudaGetDevice(&current));
  if (current != index) check(cudaSetDevice(index));
  if (index == device) return;
  device = index;
  stream = nullptr;
  keep_memory(index);
}

cudaStream_t current_stream() {
  return stream;
}

void use_stream(void* s) {
  stream = static_cast<cudaStream_t>(s);
}

void* new_stream() {
  cudaStream_t made = nullptr;
  check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
  return made;
}

void free_stream(void* s) {
  cudaStreamDestroy(static_cast<cudaStream_t>(s));  // the device may be gone: nothing to be told
}

void order(void* earlier, void* later) {
  if (earlier == later) return;
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const cudaError_t recorded = cudaEventRecord(event, static_cast<cudaStream_t>(earlier));
  const cudaError_t waits =
      recorded == cudaSuccess ? cudaStreamWaitEvent(static_cast<cudaStream_t>(later), event, 0) : recorded;
  cudaEventDestroy(event);  // lives until it is reached
  check(waits);
}

bool weights_stand() {
  return arena && arena->closed();
}

void use_arena(Arena* a) {
  arena = a;
}

void* Arena::take(size_t bytes) {
  constexpr size_t kAlign = 256;
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  const size_t begin = used_;
  used_ += bytes;
  if (closed()) {
    if (used_ > size_) throw std::logic_error("[repeat] A step asks for more memory than the first one did.");
    return memory_ + begin;
  }
  arena = nullptr;  // measures only
  try {
    void* p = device_allocate(bytes);
    arena = this;
    return p;
  } catch (...) {
    arena = this;
    throw;
  }
}

void* device_allocate(size_t bytes) {
  if (arena) return arena->take(bytes);
  void* p = nullptr;
  cudaError_t error = cudaMallocAsync(&p, bytes, stream);
  if (error == cudaErrorMemoryAllocation) {  // what the pool keeps may help
    cudaGetLastError();
    synchronize();
    release_memory();
    error = cudaMallocAsync(&p, bytes, stream);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw OutOfMemory(bytes);
    }
  }
  check(error);
  return p;
}

void device_free(void* p) noexcept {
  if (arena && arena->holds(p)) return;
  cudaFreeAsync(p, stream);  // at the process's end the driver may be gone before us
}

std::shared_ptr<void> allocate(size_t bytes) {
  constexpr size_t kLeast = 64;  // a tensor without elements has an address, too
  void* p = device_allocate(bytes < kLeast ? kLeast : bytes);
  return std::shared_ptr<void>(p, [index = device, on = stream](void* memory) {
    if (arena && arena->holds(memory)) return;
    const int device_before = device;
    const cudaStream_t stream_before = stream;
    if (index != device_before) cudaSetDevice(index);
    cudaFreeAsync(memory, on);
    if (index != device_before && device_before >= 0) cudaSetDevice(device_before);
    stream = stream_before;
  });
}

void zero(void* to, size_t bytes) {
  if (bytes > 0) check(cudaMemsetAsync(to, 0, bytes, stream));
}

void copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
}

// From pageable memory: the driver has read it when the call returns.
void copy_in(void* to, const void* host, size_t bytes) {
  host_is_free();
  check(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream));
}

void copy_to_device(void* to, const void* host, size_t bytes) {
  copy_in(to, host, bytes);
}

void copy_out(void* host, const void* from, size_t bytes) {
  host_is_free();
  check(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream));
  check(cudaStreamSynchronize(stream));
}

void synchronize() {
  check(cudaDeviceSynchronize());
}

void release_memory() {
  for (int index = 0; index < kMostDevices; ++index) {
    if (!keeps[index]) continue;
    cudaMemPool_t pool{};
    check(cudaDeviceGetDefaultMemPool(&pool, index));
    check(cudaMemPoolTrimTo(pool, 0));
  }
}

int device_count(char* why, size_t size, int* driver, int* runtime) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  *driver = *runtime = 0;
  cudaDriverGetVersion(driver);
  cudaRuntimeGetVersion(runtime);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (*driver == 0) {
    std::snprintf(why, size, "no NVIDIA driver was found");
  } else if (error == cudaErrorInsufficientDriver) {
    std::snprintf(why, size, "the NVIDIA driver supports CUDA %d.%d, this package needs %d.%d",
                  *driver / 1000, *driver % 1000 / 10, *runtime / 1000, *runtime % 1000 / 10);
  } else if (error == cudaSuccess || error == cudaErrorNoDevice) {
    std::snprintf(why, size, "there is no CUDA device");
  } else {
    std::snprintf(why, size, "the CUDA driver says: %s", cudaGetErrorString(error));
  }
  return 0;
}

void device_info(int index, CudaDeviceInfo* info) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index));
  std::snprintf(info->name, sizeof(info->name), "%s", properties.name);
  info->capability = 10 * properties.major + properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->memory = static_cast<int64_t>(properties.totalGlobalMem);
}

int device_of(const void* memory) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, memory) != cudaSuccess) {
    cudaGetLastError();
    return -1;
  }
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged
             ? attributes.device
             : -1;
}

}  // namespace s2s::cuda

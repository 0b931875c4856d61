// Memory of the emulated runtime API. A block of the device is one of the heap, of exactly its size, so that
// AddressSanitizer sees what goes beyond; where memory is strict, it is one of the arena.
#include "simt_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "simt_arena.h"
#include "simt_sanitizers.h"

namespace simt {
namespace {

struct Memory {
  std::mutex mutex;
  std::map<const char*, size_t> blocks;  // of the device, by address
  size_t live = 0;

  // How many bytes from p on belong to its block; 0: p is not the device's.
  size_t room(const void* p) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto* address = static_cast<const char*>(p);
    auto block = blocks.upper_bound(address);
    if (block == blocks.begin()) return 0;
    --block;
    const auto offset = static_cast<size_t>(address - block->first);
    return offset < block->second ? block->second - offset : 0;
  }
};
Memory& memory = *new Memory;  // outlives every object that frees memory at exit

// Each side of a copy must be what its kind says it is.
bool fits(const void* p, size_t bytes, bool must_be_device, bool may_be_device) {
  const size_t room = memory.room(p);
  return room == 0 ? !must_be_device : may_be_device && bytes <= room;
}
cudaError_t check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const bool any = kind == cudaMemcpyDefault;
  if (fits(to, bytes, to_device, any || to_device) && fits(from, bytes, from_device, any || from_device))
    return cudaSuccess;
  return refuse(cudaErrorInvalidValue,
                "a copy's memory is not where its kind says, or ends before the copy does");
}

void* new_block(size_t bytes) {
  if (strict()) return arena().take(bytes);
  void* p = nullptr;
  return posix_memalign(&p, 256, bytes) == 0 ? p : nullptr;
}
void free_block(void* p, size_t bytes) {
  strict() ? arena().give_back(p, bytes) : std::free(p);
}

}  // namespace

bool strict() {
  static const char* text = std::getenv("S2S_SIMT_STRICT");
  static const bool is = text && *text && *text != '0' && !address_sanitizer();
  return is;
}

OnDevice::OnDevice() {
  if (strict()) arena().open();
}
OnDevice::~OnDevice() {
  if (strict()) arena().close();
}

bool on_device(const void* p) {
  return memory.room(p) > 0;
}

size_t live_device_bytes() {
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.live;
}

}  // namespace simt

using simt::memory;
using simt::OnDevice;
using simt::refuse;

cudaError_t cudaMallocBytes_(void** p, size_t bytes) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(memory.mutex);
  const size_t size = simt::device().memory;
  if (bytes <= size && memory.live <= size - bytes) *p = simt::new_block(bytes);
  if (*p == nullptr) return refuse(cudaErrorMemoryAllocation, "out of memory");
  memory.blocks[static_cast<char*>(*p)] = bytes;
  memory.live += bytes;
  const OnDevice access;
  std::memset(*p, 0xff, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(memory.mutex);
  const auto found = memory.blocks.find(static_cast<char*>(p));
  if (found == memory.blocks.end())
    return refuse(cudaErrorInvalidValue, "freed what is no block of the device");
  const size_t bytes = found->second;
  memory.live -= bytes;
  memory.blocks.erase(found);
  simt::free_block(p, bytes);
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
  const OnDevice access;
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
  if (memory.room(p) < bytes)
    return refuse(cudaErrorInvalidValue, "a memset ends beyond its block of the device");
  const OnDevice access;
  std::memset(p, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t) {
  return cudaMemset(p, value, bytes);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  const bool here = simt::on_device(p);
  *attributes = {here ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, here ? 0 : -2, nullptr, nullptr};
  if (here) attributes->devicePointer = const_cast<void*>(p);
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

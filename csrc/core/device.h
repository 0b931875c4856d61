// Device: where memory lies and kernels run. What the CPU does not do itself stands in a DeviceApi, which the
// library of a backend brings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>

namespace s2s {

struct Device {
  enum Kind : uint8_t { kCpu, kCuda };
  Kind kind = kCpu;
  int16_t index = 0;

  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int index) { return {kCuda, static_cast<int16_t>(index)}; }
  constexpr bool is_cpu() const { return kind == kCpu; }
  constexpr bool operator==(const Device&) const = default;
};
std::string name_of(Device device);  // "cpu", "cuda:0"
std::ostream& operator<<(std::ostream& out, Device device);

// Memory of one kind of device. Calls concern the device that this thread used last and are ordered on its
// current stream. Errors are std::runtime_error, no memory std::bad_alloc.
struct DeviceApi {
  void (*use)(int index);
  std::shared_ptr<void> (*allocate)(size_t bytes);  // not initialised; given back in stream order
  void (*zero)(void* to, size_t bytes);
  void (*copy)(void* to, const void* from, size_t bytes);        // within the device
  void (*copy_in)(void* to, const void* host, size_t bytes);     // host memory may change after the call
  void (*copy_out)(void* host, const void* from, size_t bytes);  // waits until it is there
  void (*synchronize)();
  // Calls step(context, done) until the loop has ended, `most` times at most, and returns how many steps it
  // took. At its end a step writes to *done, which host and device reach, how many steps are done, and minus
  // that number where it was the last one. A device may be behind the host's calls: steps after the last one
  // leave *done, and what the loop is for, as they are. Steps copy nothing from or to the host, and none
  // takes more memory than the first.
  int64_t (*repeat)(void (*step)(void* context, int32_t* done), void* context, int64_t most);
};

// The backend of a device, which this thread then uses; throws std::runtime_error where it is absent.
const DeviceApi& device_api(Device device);
// `find` says where the backend of a kind is, at first use; it throws where there is none.
void set_device_backend(Device::Kind kind, const DeviceApi& (*find)());

// The same on any device.
int64_t repeat_on(Device device, void (*step)(void*, int32_t*), void* context, int64_t most);

// What Python writes to memory of devices is counted, so that whoever keeps copies of such memory (packed
// weights) knows when they are old. While other libraries share some of it, they may write unseen.
void count_device_write();
uint64_t device_writes();
void device_memory_is_shared(bool more);  // a library more, or one less
bool device_memory_shared();

// Where this thread's new tensors lie unless they say otherwise.
Device current_device();

class DeviceScope {
 public:
  explicit DeviceScope(Device device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device before_;
};

}  // namespace s2s

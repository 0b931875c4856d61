#include "core/device.h"

#include <atomic>
#include <ostream>
#include <stdexcept>

namespace s2s {
namespace {

thread_local Device current;

std::atomic<const DeviceApi& (*)()> cuda_backend{nullptr};

std::atomic<uint64_t> writes{0};
std::atomic<int64_t> sharers{0};

}  // namespace

std::string name_of(Device device) {
  return device.is_cpu() ? "cpu" : "cuda:" + std::to_string(device.index);
}
std::ostream& operator<<(std::ostream& out, Device device) {
  return out << name_of(device);
}

void set_device_backend(Device::Kind, const DeviceApi& (*find)()) {
  cuda_backend.store(find);
}

const DeviceApi& device_api(Device device) {
  const auto find = cuda_backend.load();
  if (find == nullptr) throw std::runtime_error("There is no backend for " + name_of(device) + ".");
  const DeviceApi& api = find();
  api.use(device.index);
  return api;
}

int64_t repeat_on(Device device, void (*step)(void*, int32_t*), void* context, int64_t most) {
  if (!device.is_cpu()) return device_api(device).repeat(step, context, most);
  int32_t done = 0;
  for (int64_t i = 0; i < most && done >= 0; ++i) step(context, &done);
  return done < 0 ? -done : done;
}

void count_device_write() {
  ++writes;
}

uint64_t device_writes() {
  return writes;
}

void device_memory_is_shared(bool more) {
  sharers += more ? 1 : -1;
}

bool device_memory_shared() {
  return sharers > 0;
}

Device current_device() {
  return current;
}

DeviceScope::DeviceScope(Device device) : before_(current) {
  current = device;
}

DeviceScope::~DeviceScope() {
  current = before_;
}

}  // namespace s2s

#include "ops/stream.h"

#include "ops/cuda.h"

namespace s2s {

Stream::Stream(Device device) : device_(device) {
  if (device.is_cpu()) return;
  cuda().memory->use(device.index);
  stream_ = cuda().new_stream();
}

Stream::~Stream() {
  if (stream_) cuda().free_stream(stream_);
}

Stream::Scope::Scope(const Stream& stream) : device_(stream.device_) {
  if (device_.is_cpu()) return;
  cuda().memory->use(device_.index);
  before_ = cuda().current_stream();
  cuda().use_stream(stream.stream_);
}

Stream::Scope::~Scope() {
  if (device_.is_cpu()) return;
  try {
    cuda().memory->use(device_.index);
    cuda().use_stream(before_);
  } catch (const std::exception&) {  // the device is gone, and its streams with it
  }
}

}  // namespace s2s

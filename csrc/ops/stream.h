// A stream of one's own: work in it does not wait for that of other threads.
#pragma once

#include "core/device.h"

namespace s2s {

class Stream {
 public:
  explicit Stream(Device device);  // nothing on the CPU
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // This thread's work on the device goes into the stream while it lives.
  class Scope {
   public:
    explicit Scope(const Stream& stream);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const Device device_;
    void* before_ = nullptr;
  };

 private:
  const Device device_;
  void* stream_ = nullptr;
};

}  // namespace s2s

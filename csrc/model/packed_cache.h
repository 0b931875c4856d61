// PackedCache: a network's weights in the layout of the device, made at first use. Once Python holds writable
// views of the parameters (watch), a change is noticed by their fingerprint; before, nobody can have written
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "model/parameters.h"

namespace s2s::model {

template <class Packed>
class PackedCache {
 public:
  void watch() { watched_ = true; }

  void drop() {
    std::lock_guard<std::mutex> lock(mutex_);
    packed_.reset();
  }

  template <class Pack>
  std::shared_ptr<const Packed> get(const Parameters& parameters, const Pack& pack) {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t print = watched_ ? parameters.fingerprint() : 0;
    if (!packed_ || print != print_) {
      packed_ = std::make_shared<const Packed>(pack());
      print_ = print;
    }
    return packed_;
  }

 private:
  std::mutex mutex_;
  bool watched_ = false;
  std::shared_ptr<const Packed> packed_;
  uint64_t print_ = 0;
};

}  // namespace s2s::model

// PackedCache: a network's weights in the layout of the device, made at first use. Once Python holds writable
// views of the parameters (watch), a change is noticed by their fingerprint; before, nobody can have written
// them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/fork_lock.h"
#include "model/parameters.h"

namespace s2s::model {

template <class Packed>
class PackedCache {
 public:
  void watch() { watched_ = true; }
  void drop() { ++version_; }

  // Threads that find nothing pack side by side; the last one's copy stays.
  template <class Pack>
  std::shared_ptr<const Packed> get(const Parameters& parameters, const Pack& pack) {
    const uint64_t version = version_;
    const uint64_t print = watched_ ? parameters.fingerprint() : 0;
    std::shared_ptr<const Entry> entry = held();
    if (!entry || entry->version != version || entry->print != print) {
      entry = std::make_shared<const Entry>(Entry{version, print, pack()});
      hold(entry);
    }
    return {entry, &entry->packed};
  }

 private:
  struct Entry;

  std::shared_ptr<const Entry> held() {
    const ForkLock::Hold lock(lock_);
    if (lock.orphaned()) new (&entry_) std::shared_ptr<const Entry>();  // what is there is left behind
    return entry_;
  }

  void hold(std::shared_ptr<const Entry> entry) {  // the old one is freed after the lock
    const ForkLock::Hold lock(lock_);
    if (lock.orphaned()) new (&entry_) std::shared_ptr<const Entry>();
    entry_.swap(entry);
  }

  struct Entry {
    uint64_t version, print;
    Packed packed;
  };
  std::atomic<bool> watched_{false};
  std::atomic<uint64_t> version_{0};
  ForkLock lock_;
  std::shared_ptr<const Entry> entry_;
};

}  // namespace s2s::model

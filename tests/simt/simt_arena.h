// A range of addresses that is accessible or not as a whole: the device's memory where it is strict.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace simt {

class Arena {
 public:
  Arena();
  Arena(const Arena&) = delete;

  void* take(size_t bytes);  // null: full
  void give_back(void* p, size_t bytes);
  bool contains(const void* p) const { return p >= start_ && p < start_ + kReserved; }

  void open();
  void close();  // as often as opened

 private:
  static constexpr size_t kReserved = size_t{64} << 30;  // of addresses: memory comes as it is used

  std::mutex mutex_;
  char* start_ = nullptr;
  size_t end_ = 0;                  // offset beyond which nothing was ever taken
  std::map<size_t, size_t> holes_;  // offset and size of what was given back
  int users_ = 0;
};

Arena& arena();

}  // namespace simt

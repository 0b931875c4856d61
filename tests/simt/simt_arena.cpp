// Access is changed for the whole arena at once, so it costs one system call per launch.
#include "simt_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <iterator>
#include <new>

namespace simt {
namespace {

constexpr size_t kPage = 4096;

size_t pages(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

// Says what the matter is, and lets whoever handled the signal before do so again.
struct sigaction handler_before;
void say_and_die(int, siginfo_t* info, void*) {
  if (arena().contains(info->si_addr)) {
    static const char text[] = "simt: the host touches the device's memory\n";
    if (write(2, text, sizeof(text) - 1) < 0) _exit(1);
  }
  sigaction(SIGSEGV, &handler_before, nullptr);
}

}  // namespace

Arena& arena() {
  static auto* a = new Arena;  // outlives every object that frees memory at exit
  return *a;
}

Arena::Arena() {
  void* p = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  start_ = static_cast<char*>(p);
  struct sigaction handler = {};
  handler.sa_sigaction = say_and_die;
  handler.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &handler, &handler_before);
}

void* Arena::take(size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t size = pages(bytes);
  for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
    if (hole->second < size) continue;
    const auto [offset, room] = *hole;
    holes_.erase(hole);
    if (room > size) holes_.emplace(offset + size, room - size);
    return start_ + offset;
  }
  if (size > kReserved - end_) return nullptr;
  char* p = start_ + end_;
  end_ += size;
  if (users_ > 0) mprotect(p, size, PROT_READ | PROT_WRITE);
  return p;
}

void Arena::give_back(void* p, size_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto hole = holes_.emplace(static_cast<char*>(p) - start_, pages(bytes)).first;
  const auto after = std::next(hole);
  if (after != holes_.end() && hole->first + hole->second == after->first) {
    hole->second += after->second;
    holes_.erase(after);
  }
  if (hole == holes_.begin()) return;
  const auto before = std::prev(hole);
  if (before->first + before->second == hole->first) {
    before->second += hole->second;
    holes_.erase(hole);
  }
}

void Arena::open() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (users_++ == 0 && end_ > 0) mprotect(start_, end_, PROT_READ | PROT_WRITE);
}

void Arena::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (--users_ == 0 && end_ > 0) mprotect(start_, end_, PROT_NONE);
}

}  // namespace simt

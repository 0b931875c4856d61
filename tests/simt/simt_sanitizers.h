// What the sanitizers want to know of fibers. The functions are theirs where the program was linked with one,
// null elsewhere: so the emulator itself is compiled once, without -fsanitize, and serves kernels compiled
// with any.
#pragma once

#include <cstddef>

extern "C" {
#define S2S_WEAK __attribute__((weak))
S2S_WEAK void* __tsan_get_current_fiber();
S2S_WEAK void* __tsan_create_fiber(unsigned flags);
S2S_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
S2S_WEAK void __tsan_acquire(void* address);
S2S_WEAK void __tsan_release(void* address);
S2S_WEAK void AnnotateIgnoreReadsBegin(const char* file, int line);
S2S_WEAK void AnnotateIgnoreReadsEnd(const char* file, int line);
S2S_WEAK void AnnotateIgnoreWritesBegin(const char* file, int line);
S2S_WEAK void AnnotateIgnoreWritesEnd(const char* file, int line);
S2S_WEAK void __sanitizer_start_switch_fiber(void** save, const void* stack, size_t size);
S2S_WEAK void __sanitizer_finish_switch_fiber(void* saved, const void** stack, size_t* size);
S2S_WEAK void __asan_poison_memory_region(const volatile void* p, size_t size);
S2S_WEAK void __asan_unpoison_memory_region(const volatile void* p, size_t size);
#undef S2S_WEAK
}

namespace simt {

inline bool thread_sanitizer() {
  return __tsan_create_fiber != nullptr;
}
inline bool address_sanitizer() {
  return __asan_poison_memory_region != nullptr;
}

// What was done before a release of `address` happens before what is done after an acquire of it.
inline void acquire_order(void* address) {
  if (thread_sanitizer()) __tsan_acquire(address);
}
inline void release_order(void* address) {
  if (thread_sanitizer()) __tsan_release(address);
}

// ThreadSanitizer looks away: the emulator's own accesses are no part of the kernel's.
class Unseen {
 public:
  Unseen() {
    if (!thread_sanitizer()) return;
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  ~Unseen() {
    if (!thread_sanitizer()) return;
    AnnotateIgnoreReadsEnd("", 0);
    AnnotateIgnoreWritesEnd("", 0);
  }
  Unseen(const Unseen&) = delete;
};
// Within an Unseen: it looks again.
class Seen {
 public:
  Seen() {
    if (!thread_sanitizer()) return;
    AnnotateIgnoreReadsEnd("", 0);
    AnnotateIgnoreWritesEnd("", 0);
  }
  ~Seen() {
    if (!thread_sanitizer()) return;
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  Seen(const Seen&) = delete;
};

}  // namespace simt

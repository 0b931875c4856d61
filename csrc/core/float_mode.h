// The arithmetic's mode (rounding, denormal numbers) is part of a result's bits: kernels run in the default
// one, whatever the calling thread has set. Worker threads inherit the mode of the thread that made them.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace s2s {

class DefaultFloatMode {
 public:
  DefaultFloatMode() : kept_(get()) {
    if ((kept_ & kMode) != kDefault) set(kDefault);
  }
  ~DefaultFloatMode() {
    if ((kept_ & kMode) != kDefault) set(kept_);
  }
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;

 private:
#if defined(__x86_64__)
  using Register = unsigned;
  static constexpr Register kMode = 0xffc0;  // all but the flags of what has happened
  static constexpr Register kDefault = 0x1f80;
  static Register get() { return _mm_getcsr(); }
  static void set(Register mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__) && defined(__GNUC__)
  using Register = uint64_t;
  static constexpr Register kMode = ~Register{0};
  static constexpr Register kDefault = 0;
  static Register get() {
    Register mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set(Register mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
  using Register = unsigned;
  static constexpr Register kMode = 0, kDefault = 0;
  static Register get() { return 0; }
  static void set(Register) {}
#endif

  const Register kept_;
};

}  // namespace s2s

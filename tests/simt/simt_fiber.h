// Fibers: stacks of their own that one OS thread goes to and fro between.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt {

struct Fiber {
  void* stack_pointer = nullptr;  // while another fiber runs
  char* stack = nullptr;
  size_t stack_size = 0;
  void* tsan = nullptr;        // ThreadSanitizer's name of it
  void* fake_stack = nullptr;  // AddressSanitizer's
#if !defined(__x86_64__)
  ucontext_t context;
#endif
};

// A fiber that begins with entry(), which must not return. Null: no memory for its stack. Fibers live as long
// as the process.
Fiber* new_fiber(void (*entry)());
// The calling OS thread's own stack, as the fiber that new fibers are gone to from.
Fiber* adopt_thread();
Fiber* current_fiber();
// Goes on in `to`; returns when somebody goes to the caller again.
void go_to(Fiber* to);
// To be called first by entry().
void fiber_entered();

}  // namespace simt

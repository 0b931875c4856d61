// The switch, and the stacks. On x86-64 a switch is the dozen instructions below, elsewhere swapcontext,
// which asks the kernel for the signal mask and is five times slower.
#include "simt_fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#include "simt_sanitizers.h"

namespace simt {
namespace {

Fiber* current = nullptr;
int fibers = 0;

// A kernel's frames are small; S2S_SIMT_STACK (bytes) is for the one whose are not.
size_t stack_bytes() {
  static const char* text = std::getenv("S2S_SIMT_STACK");
  static const size_t bytes =
      text ? (std::strtoull(text, nullptr, 0) + 4095) & ~size_t{4095} : size_t{128} << 10;
  return bytes;
}
// Below each stack stands a page without access. Linux allows 65,530 mappings and each such page makes two,
// so fibers beyond these do without.
constexpr int kGuarded = 16000;
constexpr size_t kPage = 4096;

}  // namespace

#if defined(__x86_64__)

// Keeps the registers that a function must keep, changes stacks, and takes the other stack's back.
extern "C" void s2s_simt_switch(void** save, void* to);
asm(R"(
.text
.p2align 4
.globl s2s_simt_switch
.hidden s2s_simt_switch
.type s2s_simt_switch, @function
s2s_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size s2s_simt_switch, . - s2s_simt_switch
)");

static void prepare(Fiber* f, void (*entry)()) {
  auto** top = reinterpret_cast<void**>(f->stack + f->stack_size);
  *--top =
      nullptr;  // entry()'s return address: where unwinding ends; and its stack is aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the registers
  f->stack_pointer = top;
}
static void change_stacks(Fiber* from, Fiber* to) {
  s2s_simt_switch(&from->stack_pointer, to->stack_pointer);
}

#else

static void prepare(Fiber* f, void (*entry)()) {
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = f->stack_size;
  f->context.uc_link = nullptr;
  makecontext(&f->context, entry, 0);
}
static void change_stacks(Fiber* from, Fiber* to) {
  swapcontext(&from->context, &to->context);
}

#endif

Fiber* new_fiber(void (*entry)()) {
  const size_t guard = fibers < kGuarded ? kPage : 0;
  void* p = mmap(nullptr, stack_bytes() + guard, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  if (guard > 0) mprotect(p, guard, PROT_NONE);
  char* stack = static_cast<char*>(p) + guard;
  const size_t own = (sizeof(Fiber) + 63) / 64 * 64;  // the Fiber itself stands above its stack
  auto* f = new (stack + stack_bytes() - own) Fiber;
  f->stack = stack;
  f->stack_size = stack_bytes() - own;
  if (thread_sanitizer()) f->tsan = __tsan_create_fiber(0);
  prepare(f, entry);
  ++fibers;
  return f;
}

Fiber* adopt_thread() {
  thread_local Fiber host;
  if (thread_sanitizer()) host.tsan = __tsan_get_current_fiber();
  if (address_sanitizer() && host.stack == nullptr) {
    pthread_attr_t attributes;
    void* p;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &p, &host.stack_size);
    pthread_attr_destroy(&attributes);
    host.stack = static_cast<char*>(p);
  }
  return current = &host;
}

Fiber* current_fiber() {
  return current;
}

void go_to(Fiber* to) {
  Fiber* from = current;
  if (to == from) return;
  if (thread_sanitizer()) __tsan_switch_to_fiber(to->tsan, 1);  // 1: a switch orders nothing
  if (address_sanitizer()) __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_size);
  current = to;
  change_stacks(from, to);
  if (address_sanitizer()) __sanitizer_finish_switch_fiber(from->fake_stack, nullptr, nullptr);
}

void fiber_entered() {
  if (address_sanitizer()) __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

}  // namespace simt

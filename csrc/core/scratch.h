// Scratch memory of a thread: one buffer that grows and is kept, so that a warm kernel allocates nothing.
#pragma once

#include <cstddef>

namespace s2s {

// At least `bytes` bytes, aligned to kAlignment, not initialised; valid until this thread's next call. One
// user at a time: an op asks once for all it needs and divides it. Throws std::bad_alloc, so the thread that
// called the op asks, not a part of a parallel region.
void* thread_scratch(size_t bytes);

}  // namespace s2s

// How often this process came from fork(): what was shared with threads of the parent is told by it.
#pragma once

#include <cstdint>

namespace s2s {
uint64_t fork_count();
}  // namespace s2s

// What the processor can do.
#pragma once

#include <string_view>

namespace s2s {

// Whether this processor has every instruction of `instruction_set`, one of those that
// cmake/instruction_sets.cmake names, and the operating system keeps the registers they need.
bool processor_runs(std::string_view instruction_set);

}  // namespace s2s

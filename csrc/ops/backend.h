// The instruction sets, weakest first.
#pragma once

#include <string>
#include <vector>

namespace s2s {

std::vector<std::string> cpu_isas();       // that this processor and build can use
std::vector<std::string> compiled_isas();  // of this build

}  // namespace s2s

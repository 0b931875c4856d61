// Which instruction sets this processor and build can use, weakest first.
#pragma once

#include <string>
#include <vector>

namespace s2s {
std::vector<std::string> cpu_isas();
}

// Errors: every message names the op, the argument, what was expected and what came.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace s2s {

// Raised for an argument of the wrong type or dtype; becomes Python's TypeError.
struct type_error : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// check("lstm", ok, "Expected h0 of shape ", want, ", got ", got, "."): the text is put together only on
// failure.
template <class... Parts>
void check(const char* op, bool ok, const Parts&... parts) {
  if (!ok) throw std::invalid_argument(text("[", op, "] ", parts...));
}

}  // namespace s2s

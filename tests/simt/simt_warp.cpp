// What happens when the lanes of a warp have met.
#include "simt_warp.h"

#include <cstring>

namespace simt {

void shuffle_operation(const Meeting& m, const void* bytes) {
  for (int l = 0; l < 32; ++l) {
    if (!m.has(l)) continue;
    const int source = static_cast<const Shuffled*>(m.in[l])->source;
    if (!m.has(source)) fail(m.place, "reads from a lane that takes no part");
    std::memcpy(m.out[l], static_cast<const Shuffled*>(m.in[source])->value,
                *static_cast<const size_t*>(bytes));
  }
}

void ballot_operation(const Meeting& m, const void*) {
  unsigned ballot = 0;
  for (int l = 0; l < 32; ++l)
    if (m.has(l) && *static_cast<const int*>(m.in[l]) != 0) ballot |= 1u << l;
  for (int l = 0; l < 32; ++l)
    if (m.has(l)) *static_cast<unsigned*>(m.out[l]) = ballot;
}

namespace {
unsigned combine(Reduced how, unsigned a, unsigned b) {
  const bool less = how.is_signed ? static_cast<int>(a) < static_cast<int>(b) : a < b;
  switch (how.kind) {
    case Reduction::add:
      return a + b;
    case Reduction::min:
      return less ? a : b;
    case Reduction::max:
      return less ? b : a;
    case Reduction::bit_and:
      return a & b;
    case Reduction::bit_or:
      return a | b;
    default:
      return a ^ b;
  }
}
}  // namespace

void reduce_operation(const Meeting& m, const void* reduced) {
  const Reduced how = *static_cast<const Reduced*>(reduced);
  bool first = true;
  unsigned result = 0;
  for (int l = 0; l < 32; ++l) {
    if (!m.has(l)) continue;
    const unsigned value = *static_cast<const unsigned*>(m.in[l]);
    result = first ? value : combine(how, result, value);
    first = false;
  }
  for (int l = 0; l < 32; ++l)
    if (m.has(l)) *static_cast<unsigned*>(m.out[l]) = result;
}

}  // namespace simt

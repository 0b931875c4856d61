// pack_columns: some columns of a packed matrix as a packed matrix of their own. No value changes, whatever
// it is packed as, so that products with it have the bits of the whole one's.
#pragma once

#include "ops/matmul.h"

namespace s2s {

struct PackColumnsArgs {
  PackShape shape;    // of the whole, gates = 0
  const void* whole;  // packed
  int64_t count;
  const int32_t* columns;  // [count] which
  void* packed;            // packed_bytes of {k, count}
};

namespace ops {
Packed pack_columns(const Packed& whole, const Tensor& columns);
}
}  // namespace s2s

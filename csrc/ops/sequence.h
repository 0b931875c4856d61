// A ragged batch as the recurrent kernels take it.
#pragma once

#include "ops/lstm.h"

namespace s2s::ops {

inline SequenceShape sequence_shape(const Ragged& ragged, int64_t hidden, bool reverse) {
  return {ragged.sequences(),        ragged.steps(),        hidden,
          ragged.batch_sizes.data(), ragged.offsets.data(), reverse};
}

}  // namespace s2s::ops

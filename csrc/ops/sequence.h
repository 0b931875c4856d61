// A ragged batch as the recurrent kernels take it.
#pragma once

#include "ops/lstm.h"

namespace s2s::ops {

inline SequenceShape sequence_shape(const Ragged& ragged, int64_t hidden, bool reverse) {
  return {ragged.sequences(),        ragged.steps(),        hidden,
          ragged.batch_sizes.data(), ragged.offsets.data(), reverse};
}

// Steps [begin, end) of it, as a batch of their own.
inline SequenceShape sequence_shape(const Ragged& ragged, Range steps, int64_t hidden, bool reverse) {
  const int64_t* batch_sizes = ragged.batch_sizes.data() + steps.begin;
  return {steps.begin < steps.end ? batch_sizes[0] : 0,
          steps.end - steps.begin,
          hidden,
          batch_sizes,
          ragged.offsets.data() + steps.begin,
          reverse};
}

}  // namespace s2s::ops

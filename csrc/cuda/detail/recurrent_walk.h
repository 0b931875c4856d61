// The places of a walk over a ragged batch: one a time step, in the order in which they are computed.
#pragma once

#include <cstdint>

#include "cuda/detail/simt.h"

namespace s2s::cuda {

// Sequences [0, rows) run at this place, [0, before) ran at the one before: others begin here, or have ended.
struct Step {
  int rows;
  int before;
  int64_t offset;  // the first one's row of gates and y
};

struct Walk {
  const int64_t* offsets;  // [steps + 1]; null: `sequences` run at every step
  int sequences, steps;
  bool downward;  // from the last time step to the first

  __host__ __device__ int rows_of(int t) const {
    if (t < 0 || t >= steps) return 0;
    return offsets ? static_cast<int>(offsets[t + 1] - offsets[t]) : sequences;
  }
  // Also of place `steps`, where none runs any more.
  __host__ __device__ Step at(int place) const {
    const int t = downward ? steps - 1 - place : place, last = downward ? t + 1 : t - 1;
    const int64_t offset = t < 0 || t >= steps ? 0
                           : offsets           ? offsets[t] - offsets[0]
                                               : int64_t{t} * sequences;
    return {rows_of(t), rows_of(last), offset};
  }
};

// Every `parts`th sequence, from `index` on. As the batch is sorted by length, so is each part, and all are
// alike.
struct Part {
  int index, parts;

  __host__ __device__ int count(int rows) const {
    return rows > index ? (rows - index + parts - 1) / parts : 0;
  }
  __host__ __device__ int sequence(int local) const { return index + local * parts; }
};

}  // namespace s2s::cuda

// A ragged batch as the recurrent kernels take it.
#pragma once

#include "core/thread_pool.h"
#include "ops/check.h"
#include "ops/lstm.h"
#include "ops/scratch.h"

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

// Of weights of this type by which `rows` rows of at most `width` numbers are multiplied at once.
inline StepProducts step_products(const char* op, ComputeType type, Device device, int64_t rows,
                                  int64_t width) {
  check(op, type == ComputeType::float32 || type == ComputeType::bfloat16_pairs,
        "Expected weights packed for training, got ", name_of(type), ".");
  if (type == ComputeType::float32) return {type, ThreadPool::kMaxThreads, 0, nullptr};
  const int parts = ThreadPool::current().threads();
  const int64_t part_bytes = narrow_bytes(rows, width);
  return {type, parts, part_bytes, scratch_on(device, parts * part_bytes)};
}

}  // namespace s2s::ops

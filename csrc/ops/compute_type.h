// What a packed weight is stored and multiplied as. Sums are float32, or int32 for int8. bfloat16_pairs: of
// the CPU, in training only: both factors are bfloat16, neighbours in k are multiplied by one instruction
// (Kernels::pairs).
#pragma once

#include <cstdint>
#include <string>

namespace s2s {

enum class ComputeType : uint8_t { float32, float16, bfloat16, int8, bfloat16_pairs };

const char* name_of(ComputeType type);

namespace ops {
// A type by its name; "default" is `stored`, "auto" the fastest that this processor does well: int8, or
// float32 where the instruction set has no fast product of bytes. Throws std::invalid_argument.
ComputeType parse_compute_type(const char* op, const std::string& name,
                               ComputeType stored = ComputeType::float32);
// Of training: float32 or bfloat16, else std::invalid_argument.
void expect_training_type(const char* op, ComputeType type);
}  // namespace ops
}  // namespace s2s

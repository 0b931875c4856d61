#include "ops/compute_type.h"

#include "core/error.h"
#include "ops/kernels.h"

namespace s2s {
namespace {

constexpr ComputeType kTypes[] = {ComputeType::float32, ComputeType::float16, ComputeType::bfloat16,
                                  ComputeType::int8};

}  // namespace

const char* name_of(ComputeType type) {
  switch (type) {
    case ComputeType::float32:
      return "float32";
    case ComputeType::float16:
      return "float16";
    case ComputeType::bfloat16:
      return "bfloat16";
    case ComputeType::int8:
      return "int8";
    case ComputeType::bfloat16_pairs:
      return "bfloat16";
  }
  return "unknown";
}

namespace ops {

ComputeType parse_compute_type(const char* op, const std::string& name, ComputeType stored) {
  if (name == "default") return stored;
  if (name == "auto") return kernels().fast_int8 ? ComputeType::int8 : ComputeType::float32;
  for (const ComputeType type : kTypes) {
    if (name == name_of(type)) return type;
  }
  throw std::invalid_argument(text(
      "[", op, "] Expected compute_type default, auto, float32, float16, bfloat16 or int8, got ", name, "."));
}

void expect_training_type(const char* op, ComputeType type) {
  check(op, type == ComputeType::float32 || type == ComputeType::bfloat16,
        "Expected compute_type float32 or bfloat16 for training, got ", name_of(type), ".");
}

}  // namespace ops
}  // namespace s2s

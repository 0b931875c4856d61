#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void cross_entropy(const CrossEntropyArgs& args) {
  const char* op = "cross_entropy";
  check(op, args.classes >= 1, "Expected logits of at least one class, got 0.");
  check(op, args.smoothing >= 0.0f && args.smoothing <= 1.0f, "Expected label_smoothing from 0 to 1, got ",
        args.smoothing, ".");
  for (int64_t r = 0; r < args.rows; ++r) {
    const int32_t target = args.targets[r];
    check(op, target == args.ignore_index || (target >= 0 && target < args.classes),
          "Expected targets from 0 to ", args.classes - 1, " or ignore_index ", args.ignore_index, ", got ",
          target, " at position ", r, ".");
  }
  kernels().cross_entropy(args);
}

}  // namespace s2s::ops

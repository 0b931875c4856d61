#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void check_targets(const char* op, const int32_t* targets, int64_t rows, int64_t classes,
                   int32_t ignore_index) {
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t target = targets[r];
    check(op, target == ignore_index || (target >= 0 && target < classes), "Expected targets from 0 to ",
          classes - 1, " or ignore_index ", ignore_index, ", got ", target, " at position ", r, ".");
  }
}

void cross_entropy(const CrossEntropyArgs& args, Device device) {
  const char* op = "cross_entropy";
  check(op, args.classes >= 1, "Expected logits of at least one class, got 0.");
  check(op, args.smoothing >= 0.0f && args.smoothing <= 1.0f, "Expected label_smoothing from 0 to 1, got ",
        args.smoothing, ".");
  if (device.is_cpu()) check_targets(op, args.targets, args.rows, args.classes, args.ignore_index);
  kernels(device).cross_entropy(args);
}

}  // namespace s2s::ops

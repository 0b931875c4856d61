#include "ops/beam_step.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void beam_step(const BeamStepArgs& args, Device device) {
  const char* op = "beam_step";
  check(op, args.sources >= 1 && args.beam >= 1 && args.k >= 1 && args.ends >= 1,
        "Expected at least one source, row, continuation and end token.");
  check(op, args.num_hypotheses >= 1 && args.num_hypotheses <= args.beam,
        "Expected num_hypotheses from 1 to the beam, ", args.beam, ", got ", args.num_hypotheses, ".");
  kernels(device).beam_step(args);
}

}  // namespace s2s::ops

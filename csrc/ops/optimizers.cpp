#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

void check_rate(const char* op, const char* name, double value) {
  check(op, value >= 0.0 && value < 1e30, "Expected ", name, " of at least 0, got ", value, ".");
}
void check_below_one(const char* op, const char* name, double value) {
  check(op, value >= 0.0 && value < 1.0, "Expected ", name, " from 0 to below 1, got ", value, ".");
}

}  // namespace

void adam(const AdamArgs& args, Device device) {
  const char* op = "adam_";
  check_rate(op, "lr", args.lr);
  check_rate(op, "eps", args.eps);
  check_rate(op, "weight_decay", args.weight_decay);
  check_below_one(op, "beta1", args.beta1);
  check_below_one(op, "beta2", args.beta2);
  check(op, args.step >= 1, "Expected step of at least 1, got ", args.step, ".");
  kernels(device).adam(args);
}

void sgd(const SgdArgs& args, Device device) {
  const char* op = "sgd_";
  check_rate(op, "lr", args.lr);
  check_rate(op, "momentum", args.momentum);
  check_rate(op, "weight_decay", args.weight_decay);
  check(op, args.momentum == 0.0 || args.buffer,
        "Expected momentum_buffer where momentum is not 0, got none.");
  check(op, !args.nesterov || args.momentum > 0.0, "Expected momentum above 0 for nesterov, got ",
        args.momentum, ".");
  kernels(device).sgd(args);
}

void adagrad(const AdagradArgs& args, Device device) {
  const char* op = "adagrad_";
  check_rate(op, "lr", args.lr);
  check_rate(op, "eps", args.eps);
  check_rate(op, "weight_decay", args.weight_decay);
  kernels(device).adagrad(args);
}

void average(const AverageArgs& args, Device device) {
  check("average_", args.weight >= 0.0 && args.weight <= 1.0, "Expected weight from 0 to 1, got ",
        args.weight, ".");
  kernels(device).average(args);
}

}  // namespace s2s::ops

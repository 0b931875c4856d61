// Distributions of real values: each row has D channels, each channel K raw parameters, one after the other;
// math/distribution.h has the equations.
//   distribution_loss:        losses and, where asked for, gradient_scale times the gradients of the
//   parameters.
//                             A target that is NaN is missing: its loss and its gradients are 0.
//   distribution_parameters:  raw -> location, scale, ... in the network's units.
//   distribution_sample:      a value of each distribution, by the random numbers of (seed, example, path,
//   step,
//                             channel).
#pragma once

#include <string>

#include "core/tensor.h"
#include "math/distribution.h"

namespace s2s {

using math::Distribution;

struct DistributionArgs {
  Distribution kind;
  int64_t rows, channels, parameters;  // parameters: of a channel
  const float* x;                      // [rows, channels * parameters] raw
  const float* offset;                 // [rows, channels] added to locations, or null
  const float* scale;                  // [rows, channels], or null: 1
  const float* levels;                 // [parameters] of quantiles
};

struct DistributionLossArgs {
  DistributionArgs of;
  const float* target;  // [rows, channels]
  float gradient_scale;
  float* losses;  // [rows, channels] out
  float* dx;      // out, as x, or null; may be x
};

struct DistributionParametersArgs {
  DistributionArgs of;
  float* y;  // out, as x; may be x
};

struct DistributionSampleArgs {
  DistributionArgs of;
  const int64_t* example;  // [rows]
  const int32_t* path;     // [rows]
  int32_t step;
  uint64_t seed;
  float* y;  // [rows, channels] out
};

namespace ops {

// What distributions are made of, besides their raw parameters.
struct DistributionOf {
  Distribution kind = Distribution::normal;
  Tensor levels{};           // [K] of quantiles: ascending, between 0 and 1, on the host or where x is
  Tensor offset{}, scale{};  // [R, D], or undefined
};

// The kind of a name (point, normal, student_t, negative_binomial, quantiles); std::invalid_argument for
// another.
Distribution parse_distribution(const char* op, const std::string& name);
// The raw parameters of a channel.
int64_t distribution_width(Distribution kind, int64_t levels);

// x [R, D * K], target and losses [R, D], dx as x or undefined.
void distribution_loss(const Tensor& x, const DistributionOf& of, const Tensor& target, float gradient_scale,
                       const Tensor& losses, const Tensor& dx);
// y as x.
void distribution_parameters(const Tensor& x, const DistributionOf& of, int64_t channels, const Tensor& y);
// example [R] int64 and path [R] int32 where x lies; y [R, D].
void distribution_sample(const Tensor& x, const DistributionOf& of, const Tensor& example, const Tensor& path,
                         int32_t step, uint64_t seed, const Tensor& y);

}  // namespace ops
}  // namespace s2s

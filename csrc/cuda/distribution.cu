// A thread has an element: a scalar formula in double.
#include "cuda/detail/quad.h"
#include "cuda/table.h"
#include "math/draw.h"
#include "ops/distribution.h"

namespace s2s::cuda {
namespace {

constexpr int kDistributionBlock = 128;

__device__ __forceinline__ math::Element element(const DistributionArgs& x, int64_t at, double y) {
  return {y, x.offset ? static_cast<double>(x.offset[at]) : 0.0,
          x.scale ? static_cast<double>(x.scale[at]) : 1.0, x.levels, x.parameters};
}

__global__ void __launch_bounds__(kDistributionBlock) loss_elements(DistributionLossArgs x) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kDistributionBlock + threadIdx.x;
  if (at >= x.of.rows * x.of.channels) return;
  const float y = x.target[at];
  float* da = x.dx ? x.dx + at * x.of.parameters : nullptr;
  if (y != y) {
    x.losses[at] = 0.0f;
    for (int64_t j = 0; da && j < x.of.parameters; ++j) da[j] = 0.0f;
    return;
  }
  const math::Element e = element(x.of, at, y);
  x.losses[at] = static_cast<float>(
      math::distribution_loss(x.of.kind, x.of.x + at * x.of.parameters, e, x.gradient_scale, da));
}

__global__ void __launch_bounds__(kDistributionBlock) parameters_of_elements(DistributionParametersArgs x) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kDistributionBlock + threadIdx.x;
  if (at >= x.of.rows * x.of.channels) return;
  const int64_t first = at * x.of.parameters;
  math::distribution_parameters(x.of.kind, x.of.x + first, x.of.offset ? x.of.offset[at] : 0.0f,
                                x.of.parameters, x.y + first);
}

__global__ void __launch_bounds__(kDistributionBlock) sample_elements(DistributionSampleArgs x) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kDistributionBlock + threadIdx.x;
  if (at >= x.of.rows * x.of.channels) return;
  const int64_t r = at / x.of.channels, c = at % x.of.channels;
  const math::Draws draws = math::draws_of(math::draws_key(x.seed, x.example[r]), x.path[r], x.step, c);
  x.y[at] =
      static_cast<float>(math::draw(x.of.kind, x.of.x + at * x.of.parameters, element(x.of, at, 0.0), draws));
}

Launch elements_of(const DistributionArgs& x) {
  const int64_t count = x.rows * x.channels;
  return {.grid = blocks(ceil_div(count, kDistributionBlock)), .block = kDistributionBlock};
}

}  // namespace

void distribution_loss(const DistributionLossArgs& x) {
  if (x.of.rows == 0) return;
  launch(loss_elements, elements_of(x.of), x);
}

void distribution_parameters(const DistributionParametersArgs& x) {
  if (x.of.rows == 0) return;
  launch(parameters_of_elements, elements_of(x.of), x);
}

void distribution_sample(const DistributionSampleArgs& x) {
  if (x.of.rows == 0) return;
  launch(sample_elements, elements_of(x.of), x);
}

}  // namespace s2s::cuda

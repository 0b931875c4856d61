#include "ops/coverage.h"

#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {

void coverage_loss(const Tensor& weights, const Tensor& coverage, float scale, const Tensor& losses,
                   const Tensor& dweights, const Tensor& dcoverage) {
  const char* op = "coverage_loss";
  expect_matrix(op, "weights", weights);
  expect(op, "coverage", coverage, weights.shape());
  expect(op, "losses", losses, {weights.dim(0)});
  const bool train = dweights.defined();
  for (const Tensor* t : {&dweights, &dcoverage}) {
    if (train) expect(op, "dweights and dcoverage", *t, weights.shape());
  }
  kernels(common_device(op, {&weights, &coverage, &losses, &dweights, &dcoverage}))
      .coverage_loss({weights.dim(0), weights.dim(1), weights.f32(), coverage.f32(), scale, losses.f32(),
                      train ? dweights.f32() : nullptr, train ? dcoverage.f32() : nullptr});
}

}  // namespace s2s::ops

// A thread has four neighbouring parameters, a quarter of a block of the mask.
#include "cuda/detail/elements.h"
#include "cuda/table.h"
#include "math/optimizers.h"
#include "ops/optimizers.h"

namespace s2s::cuda {
namespace {

static_assert(kMaskBlock % kQuad == 0);

// The weight decay of this thread's parameters, the first of which is i; false: they are frozen.
__device__ __forceinline__ bool moves(const uint8_t* mask, int64_t i, float weight_decay, float& decay) {
  const uint8_t bits = mask ? mask[i / kMaskBlock] : kMaskDecay;
  decay = bits & kMaskDecay ? weight_decay : 0.0f;
  return !(bits & kMaskFrozen);
}

__global__ void __launch_bounds__(kElementsBlock)
    adam_elements(AdamArgs x, math::Adam<float> adam, float weight_decay, bool aligned) {
  const int64_t i = flat_place(), left = x.count - i;
  float decay;
  if (left <= 0 || !moves(x.mask, i, weight_decay, decay)) return;
  float4 param = load_quad(x.param + i, left, aligned), grad = load_quad(x.grad + i, left, aligned);
  float4 m = load_quad(x.m + i, left, aligned), v = load_quad(x.v + i, left, aligned);
  each(
      [&](float& param, float& grad, float& m, float& v) { math::adam_unit(adam, decay, param, grad, m, v); },
      param, grad, m, v);
  store_quad(x.param + i, param, left, aligned);
  store_quad(x.m + i, m, left, aligned);
  store_quad(x.v + i, v, left, aligned);
}

__global__ void __launch_bounds__(kElementsBlock)
    sgd_elements(SgdArgs x, math::Sgd<float> sgd, float weight_decay, bool aligned) {
  const int64_t i = flat_place(), left = x.count - i;
  float decay;
  if (left <= 0 || !moves(x.mask, i, weight_decay, decay)) return;
  float4 param = load_quad(x.param + i, left, aligned), grad = load_quad(x.grad + i, left, aligned);
  float4 buffer = {0.0f, 0.0f, 0.0f, 0.0f};
  if (x.buffer) buffer = load_quad(x.buffer + i, left, aligned);
  each([&](float& param, float& grad, float& buffer) { math::sgd_unit(sgd, decay, param, grad, buffer); },
       param, grad, buffer);
  store_quad(x.param + i, param, left, aligned);
  if (x.buffer) store_quad(x.buffer + i, buffer, left, aligned);
}

__global__ void __launch_bounds__(kElementsBlock)
    adagrad_elements(AdagradArgs x, math::Adagrad<float> adagrad, float weight_decay, bool aligned) {
  const int64_t i = flat_place(), left = x.count - i;
  float decay;
  if (left <= 0 || !moves(x.mask, i, weight_decay, decay)) return;
  float4 param = load_quad(x.param + i, left, aligned), grad = load_quad(x.grad + i, left, aligned);
  float4 sum = load_quad(x.sum + i, left, aligned);
  each([&](float& param, float& grad, float& sum) { math::adagrad_unit(adagrad, decay, param, grad, sum); },
       param, grad, sum);
  store_quad(x.param + i, param, left, aligned);
  store_quad(x.sum + i, sum, left, aligned);
}

__global__ void __launch_bounds__(kElementsBlock)
    average_elements(AverageArgs x, float weight, bool aligned) {
  const int64_t i = flat_place(), left = x.count - i;
  if (left <= 0) return;
  float4 average = load_quad(x.average + i, left, aligned), param = load_quad(x.param + i, left, aligned);
  each([&](float& average, float& param) { math::average_unit(weight, average, param); }, average, param);
  store_quad(x.average + i, average, left, aligned);
}

float rounded(double x) {
  return static_cast<float>(x);
}

}  // namespace

void adam(const AdamArgs& x) {
  if (x.count == 0) return;
  const auto adam = math::adam_rates<float>(x.lr, x.beta1, x.beta2, x.eps, x.step, x.decoupled);
  const bool whole = aligned(x.param) && aligned(x.grad) && aligned(x.m) && aligned(x.v);
  launch(adam_elements, launch_flat(x.count), x, adam, rounded(x.weight_decay), whole);
}

void sgd(const SgdArgs& x) {
  if (x.count == 0) return;
  const math::Sgd<float> sgd{rounded(x.lr), rounded(x.momentum), x.buffer != nullptr, x.nesterov, x.first};
  const bool whole = aligned(x.param) && aligned(x.grad) && (!x.buffer || aligned(x.buffer));
  launch(sgd_elements, launch_flat(x.count), x, sgd, rounded(x.weight_decay), whole);
}

void adagrad(const AdagradArgs& x) {
  if (x.count == 0) return;
  const math::Adagrad<float> adagrad{rounded(x.lr), rounded(x.eps)};
  const bool whole = aligned(x.param) && aligned(x.grad) && aligned(x.sum);
  launch(adagrad_elements, launch_flat(x.count), x, adagrad, rounded(x.weight_decay), whole);
}

void average(const AverageArgs& x) {
  if (x.count == 0) return;
  launch(average_elements, launch_flat(x.count), x, rounded(x.weight),
         aligned(x.average) && aligned(x.param));
}

}  // namespace s2s::cuda

// A thread has four neighbouring elements.
#include "cuda/detail/elements.h"
#include "cuda/table.h"
#include "math/exp.h"
#include "ops/activation.h"

namespace s2s::cuda {
namespace {

__global__ void __launch_bounds__(kElementsBlock) tanh_backward_elements(TanhBackwardArgs x, bool aligned) {
  const int64_t i = flat_place(), left = x.rows * x.width - i;
  if (left <= 0) return;
  float4 y = load_quad(x.y + i, left, aligned), d = load_quad(x.dy + i, left, aligned);
  each([](float& dv, float& v) { dv = math::tanh_backward(v, dv); }, d, y);
  store_quad(x.dx + i, d, left, aligned);
}

}  // namespace

void tanh_backward(const TanhBackwardArgs& x) {
  const int64_t count = x.rows * x.width;
  if (count == 0) return;
  launch(tanh_backward_elements, launch_flat(count), x, aligned(x.y) && aligned(x.dy) && aligned(x.dx));
}

}  // namespace s2s::cuda

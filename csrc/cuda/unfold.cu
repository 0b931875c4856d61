// A thread has an element of a window; backward a place of a row.
#include "cuda/detail/elements.h"
#include "cuda/table.h"
#include "ops/unfold.h"

namespace s2s::cuda {
namespace {

__global__ void __launch_bounds__(kElementsBlock) unfold_elements(UnfoldArgs x) {
  const int64_t at = int64_t{blockIdx.x} * kElementsBlock + threadIdx.x;
  if (at >= x.rows * x.places * x.width) return;
  const int64_t place = at / x.width, row = place / x.places;
  const int64_t from = place - row * x.places + at - place * x.width - x.width / 2;
  x.y[at] = from >= 0 && from < x.places ? x.x[row * x.places + from] : 0.0f;
}

__global__ void __launch_bounds__(kElementsBlock) unfold_places(UnfoldArgs x) {
  const int64_t at = int64_t{blockIdx.x} * kElementsBlock + threadIdx.x;
  if (at >= x.rows * x.places) return;
  const int64_t row = at / x.places, last = at - row * x.places + x.width / 2;
  const float* windows = x.y + row * x.places * x.width;
  float sum = 0.0f;
  for (int64_t j = 0; j < x.width; ++j) {
    const int64_t s = last - j;
    if (s >= 0 && s < x.places) sum += windows[s * x.width + j];
  }
  x.x[at] = sum;
}

}  // namespace

void unfold(const UnfoldArgs& x) {
  const int64_t count = x.rows * x.places * x.width;
  if (count == 0) return;
  launch(unfold_elements, {.grid = blocks(ceil_div(count, kElementsBlock)), .block = kElementsBlock}, x);
}

void unfold_backward(const UnfoldArgs& x) {
  const int64_t count = x.rows * x.places;
  if (count == 0) return;
  launch(unfold_places, {.grid = blocks(ceil_div(count, kElementsBlock)), .block = kElementsBlock}, x);
}

}  // namespace s2s::cuda

// A warp copies 128 neighbouring elements of a row.
#include "cuda/detail/gather.h"
#include "cuda/table.h"
#include "ops/rows.h"

namespace s2s::cuda {
namespace {

__global__ void __launch_bounds__(kElementsBlock) copy_rows(Gather x, bool aligned) {
  simt::wait_for_earlier();
  const auto [r, c] = row_place(x.width);
  if (r >= x.rows || c >= x.width) return;
  const int64_t from = x.index[r], left = x.width - c;
  float4 q = {0.0f, 0.0f, 0.0f, 0.0f};
  if (from >= 0) q = load_quad(x.from + from * x.from_stride + c, left, aligned);
  store_quad(x.to + r * x.to_stride + c, q, left, aligned);
}

}  // namespace

void gather(const Gather& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.from, x.from_stride) && aligned(x.to, x.to_stride);
  Launch how = launch_rows_of(x.rows, x.width);
  how.overlaps = true;
  launch(copy_rows, how, x, whole);
}

void gather_rows(const GatherRowsArgs& x) {
  gather({x.rows, x.width, x.x, x.x_stride, x.index, x.y, x.y_stride});
}

}  // namespace s2s::cuda

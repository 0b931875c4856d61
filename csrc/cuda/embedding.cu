// Forward: a warp copies 128 elements of a row. Backward: the first row of each id has a block, which adds
// the rows of that id to the table's, in their order.
#include "cuda/detail/gather.h"
#include "cuda/detail/matches.h"
#include "cuda/table.h"
#include "ops/embedding.h"

namespace s2s::cuda {
namespace {

constexpr int kBlock = 128;

__global__ void __launch_bounds__(kBlock) add_rows_of_id(EmbeddingArgs x, bool aligned) {
  const int64_t first = blockIdx.x;
  const int32_t id = x.ids[first];
  if (appears_before<kBlock>(x.ids, first, id)) return;
  S2S_SHARED(int[kLook<kBlock>], rows);
  const int64_t c = (int64_t{blockIdx.y} * kBlock + threadIdx.x) * kQuad, left = x.width - c;
  float* to = x.table + id * x.width + c;
  float4 sum = load_quad(to, left, aligned);
  Matches<kBlock> matches(x.ids, first, x.rows, id);
  while (const int count = matches.next(rows)) {
#pragma unroll 4
    for (int i = 0; i < count; ++i) sum = sum + load_quad(x.out + rows[i] * x.out_stride + c, left, aligned);
  }
  store_quad(to, sum, left, aligned);
}

}  // namespace

void embedding(const EmbeddingArgs& x) {
  gather({x.rows, x.width, x.table, x.width, x.ids, x.out, x.out_stride});
}

void embedding_backward(const EmbeddingArgs& x) {
  if (x.rows == 0 || x.width == 0) return;
  const bool whole = aligned(x.table, x.width) && aligned(x.out, x.out_stride);
  const dim3 grid(blocks(x.rows), blocks(ceil_div(x.width, kBlock * kQuad)));
  launch(add_rows_of_id, {.grid = grid, .block = kBlock}, x, whole);
}

}  // namespace s2s::cuda

// A column of b is a row as it is packed: a thread moves 16 bytes of one, or one scale.
#include "cuda/detail/layout.h"
#include "cuda/detail/quad.h"
#include "cuda/table.h"
#include "ops/pack_columns.h"

namespace s2s::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    move_rows(int64_t count, const int32_t* columns, int64_t loads, const uint4* whole, uint4* packed) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count * loads) packed[i] = whole[columns[i / loads] * loads + i % loads];
}

__global__ void __launch_bounds__(kThreads)
    move_scales(int64_t count, const int32_t* columns, const float* whole, float* packed) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) packed[i] = whole[columns[i]];
}

Launch threads(int64_t count) {
  return {.grid = blocks(ceil_div(count, kThreads)), .block = kThreads};
}

}  // namespace

void pack_columns(const PackColumnsArgs& x) {
  const int64_t loads = row_bytes(x.shape.type, x.shape.k) / kLoadBytes;
  if (x.count * loads > 0)
    launch(move_rows, threads(x.count * loads), x.count, x.columns, loads, static_cast<const uint4*>(x.whole),
           static_cast<uint4*>(x.packed));
  if (x.count > 0 && x.shape.type == ComputeType::int8)
    launch(move_scales, threads(x.count), x.count, x.columns, packed_scales(x.whole, x.shape.k, x.shape.n),
           const_cast<float*>(packed_scales(x.packed, x.shape.k, x.count)));
}

}  // namespace s2s::cuda

// The gradients of attention that are sums over a source's queries, in the order of their rows.
#pragma once

#include "cuda/detail/attention.h"
#include "cuda/detail/matches.h"

namespace s2s::cuda {

struct SourceSums {
  Pairs pairs;
  int64_t width;
  const float* factors;  // [rows, longest]
  const float* x;        // [rows, width]: values: dcontext; keys: query
  int64_t x_stride;
  const float* keys = nullptr;    // [sum S, width], MLP
  const float* energy = nullptr;  // [width], MLP
  float* out;                     // [sum S, width] added to
  bool aligned = false;
};

// out_s += sum over the source's queries of factors_s x; MLP: of factors_s energy (1 - tanh^2(x + key_s)).
// A block has a strip of 32 rows of a source, a warp four of them.
template <bool MLP>
__global__ void __launch_bounds__(kStripBlock, 2) source_sums(SourceSums x) {
  constexpr int kRows = 4, kTile = kStripWarps * kRows;
  const int lane = threadIdx.x % kWarp, warp = strip_warp();
  const Source source = source_of(x.pairs, blockIdx.x);
  const int tile_begin = blockIdx.z * kTile, first = tile_begin + warp * kRows;
  if (tile_begin >= source.length) return;
  const int64_t c = strip_column(), left = x.width - c;
  const int rows = max(0, min(kRows, source.length - first));
  const int64_t at = (source.begin + first) * x.width + c;

  float4 sums[kRows], keys[kRows], energy = {};
  if (MLP) energy = load_quad(x.energy + c, left, x.aligned);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int64_t wanted = i < rows ? left : 0;
    sums[i] = load_quad(x.out + at + i * x.width, wanted, x.aligned);
    if (MLP) keys[i] = load_quad(x.keys + at + i * x.width, wanted, x.aligned);
  }
  S2S_SHARED(int[kLook<kStripBlock>], queries);
  S2S_SHARED(float4[kTile][kStripWarps], tile);  // factors: of 32 queries and kTile rows
  Matches<kStripBlock> matches(x.pairs.example, 0, x.pairs.rows, static_cast<int32_t>(blockIdx.x));
  while (const int found = matches.next(queries)) {
    for (int begin = 0; begin < found; begin += kTile) {
      const int count = min(kTile, found - begin);
      for (int i = warp; i < count; i += kStripWarps) {
        const int s = tile_begin + lane;
        const float* factors = x.factors + queries[begin + i] * x.pairs.longest;
        reinterpret_cast<float*>(tile[i])[lane] = s < source.length ? factors[s] : 0.0f;
      }
      __syncthreads();
      for (int i = 0; i < count; ++i) {
        float4 query = load_quad(x.x + queries[begin + i] * x.x_stride + c, left, x.aligned);
        const float4 factors = tile[i][warp];
        const float factor[kRows] = {factors.x, factors.y, factors.z, factors.w};
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          if constexpr (MLP) {
            float dquery = 0.0f, denergy = 0.0f;  // another kernel's
            each([&](float& sum, float& q, float& k,
                     float& e) { math::mlp_gradient(factor[r], e, q, k, dquery, sum, denergy); },
                 sums[r], query, keys[r], energy);
          } else {
            each([&](float& sum, float& q) { sum = math::fma(factor[r], q, sum); }, sums[r], query);
          }
        }
      }
      __syncthreads();
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (i < rows) store_quad(x.out + at + i * x.width, sums[i], left, x.aligned);
  }
}

template <bool MLP>
void launch_source_sums(int64_t sources, SourceSums x) {
  x.aligned =
      aligned(x.x, x.x_stride) && aligned(x.out, x.width) && (!MLP || (aligned(x.keys) && aligned(x.energy)));
  dim3 grid = strips(sources, x.width);
  grid.z = blocks(ceil_div(x.pairs.longest, kWarp));
  launch(source_sums<MLP>, {.grid = grid, .block = kStripBlock}, x);
}

}  // namespace s2s::cuda

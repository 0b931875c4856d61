// The layout stands in detail/layout.h. Floats and 16-bit weights: a block moves a tile of 32 columns of b by
// 32 k through shared memory, reading along whichever of the two lies together and writing along k. int8: a
// warp per column, whose scale it needs first.
#include "cuda/detail/activations.h"
#include "cuda/table.h"

namespace s2s::cuda {
namespace {

constexpr int kSide = 32, kThreads = 256, kAtOnce = kThreads / kSide, kWarps = kThreads / 32;

__device__ __forceinline__ void round_to(float& to, float x) {
  to = x;
}
__device__ __forceinline__ void round_to(Half& to, float x) {
  to.bits = math::half_bits(x);
}
__device__ __forceinline__ void round_to(BFloat& to, float x) {
  to.bits = math::bfloat_bits(x);
}

template <class Element>
__global__ void __launch_bounds__(kThreads) pack_tile(PackArgs args, int64_t k_tiles) {
  S2S_SHARED(float[kSide][kSide + 1], tile);
  const int64_t K = args.shape.k, N = args.shape.n, pitch = row_pitch<Element>(K);
  const int64_t k0 = blockIdx.x % k_tiles * kSide, n0 = blockIdx.x / k_tiles * kSide;
  const int along = static_cast<int>(threadIdx.x) % kSide, across = static_cast<int>(threadIdx.x) / kSide;
  const bool k_together = args.k_stride <= args.n_stride;
  for (int i = across; i < kSide; i += kAtOnce) {
    const int k = k_together ? along : i, n = k_together ? i : along;
    const bool there = k0 + k < K && n0 + n < N;
    tile[n][k] = there ? args.source[(k0 + k) * args.k_stride + (n0 + n) * args.n_stride] : 0.0f;
  }
  __syncthreads();
  if (k0 + along >= pitch) return;
  for (int n = across; n < kSide && n0 + n < N; n += kAtOnce)
    round_to(static_cast<Element*>(args.packed)[row_of(args.shape, n0 + n) * pitch + k0 + along],
             tile[n][along]);
}

__global__ void __launch_bounds__(kThreads) pack_int8(PackArgs args, Activations columns, float* scales) {
  const int64_t n = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (n >= columns.rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, pitch = static_cast<int>(row_pitch<int8_t>(columns.K));
  const float bound = row_bound(columns, n), scale = bound == bound ? math::weight_scale(bound) : bound;
  const int64_t row = row_of(args.shape, n);
  int8_t* to = static_cast<int8_t*>(args.packed) + row * pitch;
  for (int k = lane; k < pitch; k += 32)
    to[k] = static_cast<int8_t>(k < columns.K ? math::quantized_weight(*columns.at(n, k), scale) : 0);
  if (lane == 0) scales[row] = scale;
}

}  // namespace

int64_t packed_bytes(const PackShape& shape) {
  return bytes_of(shape);
}

void pack(const PackArgs& args) {
  const PackShape& s = args.shape;
  if (s.n == 0) return;
  if (s.type == ComputeType::int8) {
    const Activations columns{args.source,
                              args.n_stride,
                              args.k_stride,
                              s.n,
                              static_cast<int>(s.k),
                              0.0f,
                              args.k_stride == 1 && aligned(args.source, args.n_stride)};
    float* scales = const_cast<float*>(packed_scales(args.packed, s.k, s.n));
    return launch(pack_int8, {.grid = blocks(ceil_div(s.n, kWarps)), .block = kThreads}, args, columns,
                  scales);
  }
  if (s.k == 0) return;
  const int64_t pitch = row_bytes(s.type, s.k) / element_bytes(s.type);
  const int64_t k_tiles = ceil_div(pitch, kSide), n_tiles = ceil_div(s.n, kSide);
  with_element(s.type, [&](auto* element) {
    using Element = std::remove_const_t<std::remove_pointer_t<decltype(element)>>;
    if constexpr (sizeof(Element) > 1)
      launch(pack_tile<Element>, {.grid = blocks(k_tiles * n_tiles), .block = kThreads}, args, k_tiles);
  });
}

}  // namespace s2s::cuda

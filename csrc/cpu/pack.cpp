// Packs a matrix into panels (cpu/detail/panel.h). Work is split over panels. int8: each column of b, a row
// of the weight as it is stored, has a scale of its own (math/quantize.h).
#include <type_traits>

#include "core/threads.h"
#include "cpu/detail/panel.h"
#include "cpu/detail/transpose.h"
#include "cpu/table.h"
#include "math/half.h"
#include "math/quantize.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kSerialWork = 1 << 17;

int64_t vecs_of(const PackShape& s) {
  return s.gates ? s.gates : kPanelVecs;
}

int64_t panels_of(const PackShape& s) {
  const int64_t per_panel = s.gates ? kLanes : kPanelWidth;
  const int64_t columns = s.gates ? s.n / s.gates : s.n;
  return (columns + per_panel - 1) / per_panel;
}

void convert(float x, float& out) {
  out = x;
}
void convert(float x, Half& out) {
  out.bits = math::half_bits(x);
}
void convert(float x, BFloat& out) {
  out.bits = math::bfloat_bits(x);
}

// kLanes columns from `from`, the first `lanes` of them real, of a panel `width` wide.
template <class Element>
void pack_columns(const PackArgs& args, const float* from, int64_t lanes, int64_t, int64_t width,
                  Element* to) {
  const int64_t K = args.shape.k;
  for (int64_t k0 = 0; k0 < K;
       k0 += 16) {  // blocks of 16: source rows and packed rows both stay in the cache
    const int64_t k1 = k0 + 16 < K ? k0 + 16 : K;
    for (int64_t k = k0; k < k1; ++k) {
      for (int64_t j = 0; j < kLanes; ++j)
        convert(j < lanes ? from[k * args.k_stride + j * args.n_stride] : 0.0f, to[k * width + j]);
    }
  }
}

// The same of floats whose rows of b are columns of the source: by squares.
void pack_columns(const PackArgs& args, const float* from, int64_t lanes, int64_t first, int64_t width,
                  float* to) {
  if (args.k_stride != 1) return pack_columns<float>(args, from, lanes, first, width, to);
  const int64_t K = args.shape.k;
  for (int64_t k = 0; k < K; k += kLanes) {
    Vec square[kLanes];
    for (int64_t j = 0; j < kLanes; ++j)
      square[j] = j < lanes ? load(from + j * args.n_stride + k, lanes_left(K, k)) : splat(0.0f);
    transpose(square);
    for (int64_t i = 0; i < lanes_left(K, k); ++i) store(to + (k + i) * width, square[i]);
  }
}

#if defined(__AVX512BF16__)
// The same of pairs; a row of them is two of b.
void pack_columns(const PackArgs& args, const float* from, int64_t lanes, int64_t, int64_t width, BPair* to) {
  const int64_t K = args.shape.k;
  const auto row = [&](const float* at, bool there) {
    return rounded(there ? load(at, static_cast<int>(lanes)) : splat(0.0f));
  };
  if (args.n_stride == 1) {
    for (int64_t k = 0; k < K; k += 2, from += 2 * args.k_stride, to += width)
      store_pairs(to, row(from, true), row(from + args.k_stride, k + 1 < K), kLanes);
    return;
  }
  for (int64_t k = 0; k < K; k += 2 * kLanes) {
    Vec square[kLanes];
    for (int64_t j = 0; j < kLanes; ++j)
      square[j] = j < lanes ? rounded(from + j * args.n_stride, k, K) : splat(0.0f);
    transpose(square);
    for (int64_t i = 0; i < kLanes && k + 2 * i < K; ++i)
      store(reinterpret_cast<float*>(to + (k / 2 + i) * width), square[i]);
  }
}
#endif

// The scale of one column; NaN where a weight is NaN or infinite.
float scale_of(const PackArgs& args, const float* column) {
  float largest = 0.0f, zero = 0.0f;
  for (int64_t k = 0; k < args.shape.k; ++k) {
    const float w = column[k * args.k_stride];
    largest = __builtin_fabsf(w) > largest ? __builtin_fabsf(w) : largest;
    zero += w * 0.0f;
  }
  if (zero != 0.0f) return zero;
  return math::weight_scale(largest);
}

void pack_columns(const PackArgs& args, const float* from, int64_t lanes, int64_t first, int64_t width,
                  int8_t* to) {
  const int64_t K = args.shape.k, depth = grouped(K);
  int8_t* tail = to - first * kGroup + depth * width;  // of the panel: scales, then compensations
  for (int64_t j = 0; j < kLanes; ++j) {
    const float* column = from + j * args.n_stride;
    const float scale = j < lanes ? scale_of(args, column) : 0.0f;
    int32_t sum = 0;
    for (int64_t k = 0; k < depth; ++k) {
      const int q = j < lanes && k < K ? math::quantized_weight(column[k * args.k_stride], scale) : 0;
      sum += q;
      to[(k / kGroup * width + j) * kGroup + k % kGroup] = static_cast<int8_t>(q);
    }
    const int32_t compensation = -kOffset * sum;
    std::memcpy(tail + 4 * (first + j), &scale, 4);
    std::memcpy(tail + 4 * (width + first + j), &compensation, 4);
  }
}

#if defined(__AVX512BF16__)
void round_part(const RoundArgs& x, Range rows) {
  round_rows(x.x, x.x_stride, rows, x.width, reinterpret_cast<BPair*>(x.out), x.out_stride / 2);
}
#else
void round_part(const RoundArgs&, Range) {}
#endif

}  // namespace

void round(const RoundArgs& x) {
  parallel(x.rows * x.width < kSerialWork ? 1 : 64,
           [&](int part, int parts) { round_part(x, share_of(x.rows, part, parts)); });
}

int64_t packed_bytes(const PackShape& s) {
  return panels_of(s) * panel_bytes(s.type, s.k, vecs_of(s) * kLanes);
}

void pack(const PackArgs& args) {
  const PackShape& s = args.shape;
  const int64_t vecs = vecs_of(s), width = vecs * kLanes, panels = panels_of(s);
  const int64_t unit = s.gates ? s.n / s.gates : 0, bytes = panel_bytes(s.type, s.k, width);
  const auto pack_panels = [&](int part, int parts) {
    const Range range = share_of(panels, part, parts);
    const auto pack_as = [&](auto* element) {
      using Element = element_of<decltype(element)>;
      for (int64_t p = range.begin; p < range.end; ++p) {
        Element* panel = reinterpret_cast<Element*>(static_cast<char*>(args.packed) + p * bytes);
        for (int64_t v = 0; v < vecs; ++v) {
          // The columns of b that this vector holds: kLanes in a row, or as many units of one gate.
          const int64_t first = s.gates ? v * unit + p * kLanes : (p * vecs + v) * kLanes;
          const int64_t limit = s.gates ? (v + 1) * unit : s.n;
          const int64_t lanes = first >= limit ? 0 : lanes_left(limit, first);
          const int64_t at = v * kLanes * (sizeof(Element) == 1 ? kGroup : 1);
          pack_columns(args, args.source + first * args.n_stride, lanes, v * kLanes, width, panel + at);
        }
      }
    };
    with_any_element(s.type, pack_as);
  };
  parallel(s.k * s.n < kSerialWork ? 1 : 64, pack_panels);
}

}  // namespace s2s::S2S_ISA

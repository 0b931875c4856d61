// Packed weights in the CUDA backend. b [K, N] lies as N rows, one per column of b: its K elements together,
// zeros up to a multiple of 16 bytes, so that every load is of 16 bytes and aligned. Then, for int8 only, N
// float scales, row for row: w = scale * q, NaN for a row that holds NaN or infinity.
// gates = 0: row n is column n. gates = G: row u * G + g is column g * H + u, so that the G gates of one unit
// lie together.
#pragma once

#include <cstdint>

#include "math/inline.h"
#include "ops/matmul.h"

namespace s2s::cuda {

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

constexpr int kLoadBytes = 16;

// Elements that one load brings.
template <class Element>
constexpr int kLoad = kLoadBytes / static_cast<int>(sizeof(Element));

S2S_INLINE int64_t element_bytes(ComputeType type) {
  return type == ComputeType::float32 ? 4 : type == ComputeType::int8 ? 1 : 2;
}

// Bytes, and elements, from one row to the next.
S2S_INLINE int64_t row_bytes(ComputeType type, int64_t K) {
  return (K * element_bytes(type) + kLoadBytes - 1) / kLoadBytes * kLoadBytes;
}
template <class Element>
S2S_INLINE int64_t row_pitch(int64_t K) {
  return (K + kLoad<Element> - 1) / kLoad<Element> * kLoad<Element>;
}

S2S_INLINE int64_t bytes_of(const PackShape& s) {
  return s.n * (row_bytes(s.type, s.k) + (s.type == ComputeType::int8 ? 4 : 0));
}

// Where column n of b lies.
S2S_INLINE int64_t row_of(const PackShape& s, int64_t n) {
  if (s.gates == 0) return n;
  const int64_t H = s.n / s.gates;
  return n % H * s.gates + n / H;
}

template <class Element>
S2S_INLINE const Element* packed_rows(const void* packed) {
  return static_cast<const Element*>(packed);
}
// int8: the scales of N rows of width K.
S2S_INLINE const float* packed_scales(const void* packed, int64_t K, int64_t N) {
  return reinterpret_cast<const float*>(static_cast<const char*>(packed) +
                                        N * row_bytes(ComputeType::int8, K));
}

// Calls f with a null pointer of the element's type.
template <class F>
inline void with_element(ComputeType type, const F& f) {
  switch (type) {
    case ComputeType::float32:
      return f(static_cast<const float*>(nullptr));
    case ComputeType::float16:
      return f(static_cast<const Half*>(nullptr));
    case ComputeType::bfloat16:
      return f(static_cast<const BFloat*>(nullptr));
    case ComputeType::int8:
      return f(static_cast<const int8_t*>(nullptr));
    case ComputeType::bfloat16_pairs:
      return;  // of the CPU alone
  }
}

}  // namespace s2s::cuda

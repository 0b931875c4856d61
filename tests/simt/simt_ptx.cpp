// The twins of warp-wide PTX: what happens once all lanes have come.
#include "simt_ptx.h"

#include <cstring>

namespace simt {
namespace {
// The lower or upper 16 bits of a register as a number.
float element(uint32_t reg, int upper, bool is_half) {
  const auto bits = static_cast<unsigned short>(reg >> 16 * upper);
  return is_half ? __half2float(__ushort_as_half(bits)) : __bfloat162float(__ushort_as_bfloat16(bits));
}
}  // namespace

// The order of a tensor core's sum is its own: results agree with it to rounding, not to the bit.
void mma_operation(const Meeting& m, const void* is_half) {
  const bool half = *static_cast<const bool*>(is_half);
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto& in = *static_cast<const Fragments*>(m.in[l]);
    const int g = l / 4, t = l % 4;
    for (int r = 0; r < 4; ++r)
      for (int upper = 0; upper < 2; ++upper)
        a[g + 8 * (r & 1)][2 * t + upper + 8 * (r >> 1)] = element(in.a[r], upper, half);
    for (int r = 0; r < 2; ++r)
      for (int upper = 0; upper < 2; ++upper) b[2 * t + upper + 8 * r][g] = element(in.b[r], upper, half);
  }
  for (int l = 0; l < 32; ++l) {
    const auto& in = *static_cast<const Fragments*>(m.in[l]);
    auto* d = static_cast<float*>(m.out[l]);
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + 8 * (i >> 1), column = 2 * (l % 4) + (i & 1);
      float sum = 0.0f;
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      d[i] = in.c[i] + sum;
    }
  }
}

void ldmatrix_operation(const Meeting& m, const void* transposed) {
  const bool by_column = *static_cast<const bool*>(transposed);
  for (int l = 0; l < 32; ++l) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint32_t reg = 0;
      for (int e = 0; e < 2; ++e) {
        const int i = l / 4, j = 2 * (l % 4) + e;
        const int row = by_column ? j : i, column = by_column ? i : j;
        uint16_t value;
        std::memcpy(&value, static_cast<const char*>(m.in[8 * matrix + row]) + 2 * column, 2);
        reg |= uint32_t{value} << 16 * e;
      }
      static_cast<uint32_t*>(m.out[l])[matrix] = reg;
    }
  }
}

}  // namespace simt

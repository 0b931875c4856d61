// CUDA's keywords, dim3 and the vector types.
#pragma once

#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#if !defined(__clang__)
#define __builtin_assume(condition) static_cast<void>(0)
#endif

// Alignments are CUDA's, so that the sanitizers see a misaligned vector load.
#define S2S_VECTORS(element, name, align2, align4)                               \
  struct alignas(align2) name##2 {                                               \
    element x, y;                                                                \
  };                                                                             \
  struct name##3 {                                                               \
    element x, y, z;                                                             \
  };                                                                             \
  struct alignas(align4) name##4 {                                               \
    element x, y, z, w;                                                          \
  };                                                                             \
  constexpr name##2 make_##name##2(element x, element y) {                       \
    return {x, y};                                                               \
  }                                                                              \
  constexpr name##3 make_##name##3(element x, element y, element z) {            \
    return {x, y, z};                                                            \
  }                                                                              \
  constexpr name##4 make_##name##4(element x, element y, element z, element w) { \
    return {x, y, z, w};                                                         \
  }
S2S_VECTORS(float, float, 8, 16)
S2S_VECTORS(int, int, 8, 16)
S2S_VECTORS(unsigned, uint, 8, 16)
S2S_VECTORS(double, double, 16, 16)
S2S_VECTORS(long long, longlong, 16, 16)
S2S_VECTORS(unsigned long long, ulonglong, 16, 16)
S2S_VECTORS(short, short, 4, 8)
S2S_VECTORS(unsigned short, ushort, 4, 8)
S2S_VECTORS(signed char, char, 2, 4)
S2S_VECTORS(unsigned char, uchar, 2, 4)
#undef S2S_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// S2S_INLINE: a formula that is always inlined and has internal linkage, on host and device.
#pragma once

#if defined(__CUDACC__)
#define S2S_INLINE static __host__ __device__ __forceinline__
#else
#define S2S_INLINE static inline __attribute__((always_inline, unused))
#endif

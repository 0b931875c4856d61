// The only CUDA header a kernel source includes. Under nvcc it is CUDA; under any other compiler it is the
// emulator of tests/simt, where the same source runs as plain C++ and its mistakes are found without a GPU.
//
// Rules of a kernel source (plain __shared__ and <<<>>> do not compile in the emulator, so nobody forgets):
//   S2S_SHARED(float[32][33], tile);       in place of  __shared__ float tile[32][33];
//   S2S_DYNAMIC_SHARED(float, smem);       in place of  extern __shared__ float smem[];   16-byte aligned
//   launch(kernel, {.grid = .., .block = ..}, args...)  in place of  <<<>>>   (launch.h)
// * Inline PTX stands in ptx.h, where each piece has an emulated twin.
// * A thread that leaves a kernel must not leave others behind at a barrier: leave by whole blocks (clusters,
//   grids), or not at all. Threads of a block meet at the same barrier in the source.
// * Lanes of a warp that exchange values by shared memory say __syncwarp() in between: a shuffle orders
// nothing.
// * Who waits for another block spins on simt::load_acquire() and simt::backoff(), on simt::load_relaxed() of
//   a word that says itself whether it has come, or, in a cluster, in simt::arrival_wait(): never on a plain
//   or volatile load. A grid that waits is launched as cooperative, so that all its blocks are resident.
// * float4 and its like are loaded from shared memory only where the array is declared with their alignment:
//   S2S_SHARED(float4[8], row).
// * No floating-point atomics, no __activemask(), no device-side allocation, no function pointers.
#pragma once

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <type_traits>

#define S2S_SHARED(type_, name) __shared__ std::type_identity_t<type_> name
#define S2S_DYNAMIC_SHARED(type_, name)                                \
  extern __shared__ __align__(16) unsigned char s2s_dynamic_shared_[]; \
  type_* const name = reinterpret_cast<type_*>(s2s_dynamic_shared_)

#else

#include "emulator.h"

#endif

#include "cuda/detail/launch.h"
#include "cuda/detail/ptx.h"
#include "cuda/detail/scratch.h"

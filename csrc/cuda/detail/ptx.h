// Inline PTX, and nothing but: every piece is a function here and has an emulated twin of the same signature
// in tests/simt/simt_ptx.h. A twin is written from the PTX manual, as its original is: that they agree proves
// nothing about the hardware, so a test on a GPU compares the two.
#pragma once

#if !defined(__CUDACC__)

#include "simt_ptx.h"

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace simt {

// Hand-over between blocks, at the scope of the device. What a thread wrote before its release (and, after a
// __syncthreads(), what its block wrote) is seen by whoever reads the released value with an acquire.
__device__ __forceinline__ unsigned load_acquire(const unsigned* p) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(p) : "memory");
  return value;
}
__device__ __forceinline__ void store_release(unsigned* p, unsigned value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
}
// Adds, and returns what stood there before.
__device__ __forceinline__ unsigned add_release(unsigned* p, unsigned value) {
  unsigned before;
  asm volatile("atom.add.release.gpu.global.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(p), "r"(value)
               : "memory");
  return before;
}
// The same, and sees what those wrote who added before: for "the last block to arrive does the rest".
__device__ __forceinline__ unsigned add_acq_rel(unsigned* p, unsigned value) {
  unsigned before;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(p), "r"(value)
               : "memory");
  return before;
}
// Words that carry their own news: eight bytes are read and written at once, so that half of them can say
// whether the other half has come. They order nothing else. Of two neighbours each is read at once (16-byte
// aligned).
__device__ __forceinline__ uint64_t load_relaxed(const uint64_t* p) {
  uint64_t value;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(value) : "l"(p) : "memory");
  return value;
}
__device__ __forceinline__ void load_relaxed(const uint64_t* p, uint64_t (&values)[2]) {
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];"
               : "=l"(values[0]), "=l"(values[1])
               : "l"(p)
               : "memory");
}
__device__ __forceinline__ void store_relaxed(uint64_t* p, uint64_t value) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(p), "l"(value) : "memory");
}
// Between two looks of a thread that spins.
__device__ __forceinline__ void backoff() {
  __nanosleep(20);
}

// The first statement of a kernel that is launched with .overlaps, but for asking for weights (launch.h):
// lets the next kernel's blocks come, then waits until the kernels ahead in the stream have ended and what
// they wrote is seen. All threads say it, those with nothing to do as well: the next kernel waits for this
// one alone.
__device__ __forceinline__ void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

namespace detail {
__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
}  // namespace detail

// d = a b + c by a whole warp: a [16, 16] row-major, b [16, 8] column-major, both of T (__half or
// __nv_bfloat16), two to a register; c and d float32. With g = lane / 4 and t = lane % 4 a lane holds
//   a: rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8 (and the next)
//   b: rows 2t, 2t + 8 (and the next) of column g
//   c: rows g, g, g + 8, g + 8 at columns 2t, 2t + 1, 2t, 2t + 1
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                             const float (&c)[4]) {
  if constexpr (std::is_same_v<T, __half>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
          "f"(c[3]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
          "f"(c[3]));
}

// Four 8 x 8 matrices of 16-bit elements from shared memory by a whole warp: lane 8m + i gives the address
// (16-byte aligned) of row i of matrix m, and r[m] of lane l receives elements 2 (l % 4) and the next of row
// l / 4. TRANSPOSED: of the transposed matrix.
template <bool TRANSPOSED>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  const unsigned address = detail::shared_address(row);
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

// 16 bytes from global to shared memory, both 16-byte aligned, at some time between this call and the wait
// for its group; `bytes` (0 to 16) are read, the rest becomes zero. The copy is seen by the calling thread
// after its wait, by others after a barrier that follows the wait.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
// Ends a group: the copies this thread issued since the last one.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most PENDING of this thread's latest groups are still under way.
template <int PENDING>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// --- hand-over within a cluster (from sm_90): a block's Arrival, in its shared memory, counts the bytes that
// others write into that memory. Its phases take turns; in each, one thread of the block says how many bytes
// are to come (before or after they do), and all wait for them.
struct Arrival {
  uint64_t state;
};
// By one thread; the others, in all blocks, may use it after a barrier of the cluster.
__device__ __forceinline__ void arrival_start(Arrival* a) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n\tfence.mbarrier_init.release.cluster;" ::"r"(
                   detail::shared_address(a))
               : "memory");
}
__device__ __forceinline__ void arrival_expect(Arrival* a, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(detail::shared_address(a)),
               "r"(bytes)
               : "memory");
}
// Until the phase with this parity is over; what came in it is seen. Phases count from 0.
__device__ __forceinline__ void arrival_wait(Arrival* a, unsigned parity) {
  asm volatile(
      "{\n\t.reg .pred done;\n\t"
      "look:\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
      "@done bra over;\n\t"
      "bra look;\n\t"
      "over:\n\t}" ::"r"(detail::shared_address(a)),
      "r"(parity)
      : "memory");
}
// Writes `value` where `p` would lie in block `rank` of the cluster, and counts it at the `a` of that block.
__device__ __forceinline__ void store_async(uint4* p, const uint4& value, Arrival* a, unsigned rank) {
  asm volatile(
      "{\n\t.reg .b32 to, at;\n\t"
      "mapa.shared::cluster.u32 to, %0, %6;\n\t"
      "mapa.shared::cluster.u32 at, %1, %6;\n\t"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [to], {%2, %3, %4, %5}, [at];\n\t}" ::"r"(
          detail::shared_address(p)),
      "r"(detail::shared_address(a)), "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w), "r"(rank)
      : "memory");
}
__device__ __forceinline__ void store_async(uint32_t* p, uint32_t value, Arrival* a, unsigned rank) {
  asm volatile(
      "{\n\t.reg .b32 to, at;\n\t"
      "mapa.shared::cluster.u32 to, %0, %3;\n\t"
      "mapa.shared::cluster.u32 at, %1, %3;\n\t"
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [to], %2, [at];\n\t}" ::"r"(
          detail::shared_address(p)),
      "r"(detail::shared_address(a)), "r"(value), "r"(rank)
      : "memory");
}

}  // namespace simt

#endif

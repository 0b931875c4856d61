// The twins of csrc/cuda/detail/ptx.h: what each piece of inline PTX does, after the PTX manual.
#pragma once

#include <cstdint>
#include <type_traits>

#include "simt_atomics.h"
#include "simt_half.h"
#include "simt_warp.h"

namespace simt {

// --- hand-over between blocks
inline unsigned load_acquire(const unsigned* p, S2S_SIMT_HERE) {
  spin(S2S_SIMT_PLACE("load_acquire"));
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
inline void store_release(unsigned* p, unsigned value, S2S_SIMT_HERE) {
  yield(S2S_SIMT_PLACE("store_release"));
  if (__atomic_exchange_n(p, value, __ATOMIC_RELEASE) != value) changed();
}
inline unsigned add_release(unsigned* p, unsigned value, S2S_SIMT_HERE) {
  yield(S2S_SIMT_PLACE("add_release"));
  if (value != 0) changed();
  return __atomic_fetch_add(p, value, __ATOMIC_RELEASE);
}
inline unsigned add_acq_rel(unsigned* p, unsigned value, S2S_SIMT_HERE) {
  yield(S2S_SIMT_PLACE("add_acq_rel"));
  if (value != 0) changed();
  return __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL);
}
inline uint64_t load_relaxed(const uint64_t* p, S2S_SIMT_HERE) {
  spin(S2S_SIMT_PLACE("load_relaxed"));
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
inline void load_relaxed(const uint64_t* p, uint64_t (&values)[2], S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("load_relaxed");
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) fail(place, "the address is not a multiple of 16");
  for (int i = 0; i < 2; ++i) {
    spin(place);
    values[i] = __atomic_load_n(p + i, __ATOMIC_RELAXED);
  }
}
inline void store_relaxed(uint64_t* p, uint64_t value, S2S_SIMT_HERE) {
  yield(S2S_SIMT_PLACE("store_relaxed"));
  if (__atomic_exchange_n(p, value, __ATOMIC_RELAXED) != value) changed();
}
inline void backoff(S2S_SIMT_HERE) {
  spin(S2S_SIMT_PLACE("backoff"));
}

// --- kernels that begin before the one ahead has ended: here none does, but the launch counts the threads
// that waited (simt_runtime.cpp)
inline thread_local uint64_t threads_that_waited = 0;
inline void wait_for_earlier() {
  __atomic_fetch_add(&threads_that_waited, 1, __ATOMIC_RELAXED);  // fibers are threads to ThreadSanitizer
}

// --- tensor cores
struct Fragments {
  uint32_t a[4], b[2];
  float c[4];
};
void mma_operation(const Meeting& meeting, const void* is_half);
template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                  S2S_SIMT_HERE) {
  static_assert(std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>);
  const bool is_half = std::is_same_v<T, __half>;
  const Fragments in = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}};
  float out[4];
  warp_operation(0xffffffffu, S2S_SIMT_PLACE("mma.m16n8k16"), mma_operation, &is_half, &in, out);
  for (int i = 0; i < 4; ++i) d[i] = out[i];
}

void ldmatrix_operation(const Meeting& meeting, const void* transposed);
template <bool TRANSPOSED>
void ldmatrix_x4(uint32_t (&r)[4], const void* row, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("ldmatrix");
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail(place, "the row's address is not a multiple of 16");
  // Each lane reads its row here, where the sanitizers watch, and hands the bytes over.
  uint32_t in[4], out[4];
  for (int i = 0; i < 4; ++i) in[i] = static_cast<const uint32_t*>(row)[i];
  const bool transposed = TRANSPOSED;
  warp_operation(0xffffffffu, place, ldmatrix_operation, &transposed, in, out);
  for (int i = 0; i < 4; ++i) r[i] = out[i];
}

// --- cp.async: the copy may happen at any time between its issue and the wait for its group. In order, it is
// held back until then (a missing wait shows); in reversed order, it happens at once (a buffer overwritten
// too early shows); in random order, a coin decides for each.
struct Copy {
  void* shared;
  const void* global;
  int bytes;
  int group;

  void perform() const {
    const int words = bytes / 4, rest = bytes % 4;
    for (int i = 0; i < 4; ++i)
      static_cast<uint32_t*>(shared)[i] = i < words ? static_cast<const uint32_t*>(global)[i] : 0;
    for (int i = 0; i < rest; ++i)
      static_cast<unsigned char*>(shared)[words * 4 + i] =
          static_cast<const unsigned char*>(global)[words * 4 + i];
  }
};
bool copies_at_once();             // the schedule's answer to "is this copy made at its issue?"
void keep_copy(const Copy& copy);  // for the calling thread
void end_copy_group();
bool take_copy(int pending, Copy* due);  // one that a wait for all but `pending` groups makes due
#if defined(__SANITIZE_THREAD__)
extern "C" void __tsan_write16(void*);
#endif
inline void cp_async16(void* shared, const void* global, int bytes = 16, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("cp.async");
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0)
    fail(place, "the shared address is not a multiple of 16");
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0)
    fail(place, "the global address is not a multiple of 16");
  if (bytes < 0 || bytes > 16) fail(place, "the number of bytes is not one of 0 to 16");
  const Copy copy = {shared, global, bytes, 0};
  if (copies_at_once()) {
    copy.perform();
  } else {
#if defined(__SANITIZE_THREAD__)
    __tsan_write16(shared);  // it may be written from here on
#endif
    keep_copy(copy);
  }
}
inline void cp_async_commit() {
  end_copy_group();
}
template <int PENDING>
void cp_async_wait() {
  Copy due;
  while (take_copy(PENDING, &due)) due.perform();
}

// --- hand-over within a cluster. The lower half of the state is the number of the phase; the upper one, from
// bit 33 on, what is still to come in it, less what came before its number was known; bit 32: that is known.
struct Arrival {
  uint64_t state;
};
inline void arrival_start(Arrival* a, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("arrival_start");
  if (reinterpret_cast<uintptr_t>(a) % 8 != 0) fail(place, "the arrival's address is not a multiple of 8");
  __atomic_store_n(&a->state, uint64_t{0}, __ATOMIC_RELEASE);
}
namespace detail {
inline void add_bytes(Arrival* a, int bytes, bool known, Place place) {
  constexpr int64_t kMost = (1 << 20) - 1;  // of the hardware's count
  uint64_t before = __atomic_load_n(&a->state, __ATOMIC_ACQUIRE), after;
  do {
    if (known && (before >> 32 & 1)) fail(place, "this phase's bytes are known already");
    const int64_t left = (static_cast<int64_t>(before) >> 33) + bytes;
    if (left > kMost || left < -kMost) fail(place, "more bytes than an arrival can count");
    const bool is_known = known || (before >> 32 & 1);
    after = is_known && left == 0
                ? (before + 1) & 0xffffffffu
                : static_cast<uint64_t>(left) << 33 | uint64_t{is_known} << 32 | (before & 0xffffffffu);
  } while (
      !__atomic_compare_exchange_n(&a->state, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  changed();
}
}  // namespace detail
inline void arrival_expect(Arrival* a, int bytes, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("arrival_expect");
  yield(place);
  if (bytes < 0) fail(place, "the number of bytes is negative");
  detail::add_bytes(a, bytes, true, place);
}
inline void arrival_wait(Arrival* a, unsigned parity, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("arrival_wait");
  do {
    spin(place);
  } while ((__atomic_load_n(&a->state, __ATOMIC_ACQUIRE) & 1) == parity);
}
inline void store_async(uint4* p, const uint4& value, Arrival* a, unsigned rank, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("store_async");
  yield(place);
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) fail(place, "the address is not a multiple of 16");
  auto* to = static_cast<uint4*>(shared_of_rank(p, rank, place));
  to->x = value.x, to->y = value.y, to->z = value.z, to->w = value.w;
  detail::add_bytes(static_cast<Arrival*>(shared_of_rank(a, rank, place)), -16, false, place);
}
inline void store_async(uint32_t* p, uint32_t value, Arrival* a, unsigned rank, S2S_SIMT_HERE) {
  const Place place = S2S_SIMT_PLACE("store_async");
  yield(place);
  *static_cast<uint32_t*>(shared_of_rank(p, rank, place)) = value;
  detail::add_bytes(static_cast<Arrival*>(shared_of_rank(a, rank, place)), -4, false, place);
}

}  // namespace simt

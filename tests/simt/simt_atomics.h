// Atomic operations on integers, relaxed as CUDA's are: only a fence, an acquire or a release orders other
// memory. Each is a point where another thread may run first.
#pragma once

#include <cstring>
#include <type_traits>

#include "simt_threads.h"

namespace simt {

// Replaces *p by next(*p); returns what stood there before.
template <class T, class Next>
T read_modify_write(T* p, Place place, Next next) {
  static_assert(std::is_integral_v<T>, "no floating-point atomics: results are deterministic");
  spin(place);
  T before = __atomic_load_n(p, __ATOMIC_RELAXED);
  const T after = next(before);  // no other thread runs in between
  __atomic_exchange_n(p, after, __ATOMIC_RELAXED);
  if (after != before) changed();
  return before;
}

}  // namespace simt

#define S2S_ATOMIC(name, ...)                                                                          \
  template <class T>                                                                                   \
  T name(T* p, std::type_identity_t<T> v, S2S_SIMT_HERE) {                                             \
    return simt::read_modify_write(p, S2S_SIMT_PLACE(#name), [v](T old) -> T { return __VA_ARGS__; }); \
  }
S2S_ATOMIC(atomicAdd, static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) +
                                     static_cast<std::make_unsigned_t<T>>(v)))
S2S_ATOMIC(atomicSub, static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) -
                                     static_cast<std::make_unsigned_t<T>>(v)))
S2S_ATOMIC(atomicMin, v < old ? v : old)
S2S_ATOMIC(atomicMax, old < v ? v : old)
S2S_ATOMIC(atomicAnd, old& v)
S2S_ATOMIC(atomicOr, old | v)
S2S_ATOMIC(atomicXor, old ^ v)
S2S_ATOMIC(atomicInc, old >= v ? T{0} : old + 1)
#undef S2S_ATOMIC
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v, S2S_SIMT_HERE) {
  return simt::read_modify_write(p, S2S_SIMT_PLACE("atomicExch"), [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v, S2S_SIMT_HERE) {
  return simt::read_modify_write(p, S2S_SIMT_PLACE("atomicCAS"),
                                 [=](T old) { return old == expected ? v : old; });
}

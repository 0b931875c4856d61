// What the lanes of a warp do together. All lanes of the mask must come to the same call; a lane that has
// left, is not in its own mask, or stands elsewhere is a failure with a sentence.
#pragma once

#include <type_traits>

#include "simt_threads.h"

namespace simt {

// Runs once all lanes of the mask have come, for all of them: in[l] and out[l] are those of lane l.
struct Meeting {
  unsigned lanes;
  const void* in[32];
  void* out[32];
  Place place;

  bool has(int l) const { return lanes >> l & 1u; }
};
using Operation = void (*)(const Meeting&, const void* argument);
// The operations are compiled without sanitizers, as shuffles order no memory and are no accesses to it.
void warp_operation(unsigned mask, Place place, Operation operation, const void* argument, const void* in,
                    void* out);
// __syncwarp: does order memory.
void warp_barrier(unsigned mask, Place place);

struct Shuffled {
  const void* value;
  int source;  // lane
};
void shuffle_operation(const Meeting& meeting, const void* bytes);
void ballot_operation(const Meeting& meeting, const void*);

enum class Shuffle { index, up, down, exclusive_or };
// The lane whose value lane `from` receives; its own where it would leave its segment of `width` lanes.
inline int shuffle_source(Shuffle kind, int from, int argument, int width) {
  const int first = from & ~(width - 1), end = first + width;
  switch (kind) {
    case Shuffle::index:
      return first + (argument & (width - 1));
    case Shuffle::up:
      return from - argument < first ? from : from - argument;
    case Shuffle::down:
      return from + argument >= end ? from : from + argument;
    default:
      return (from ^ argument) >= end ? from : from ^ argument;
  }
}
template <class T>
T shuffle(unsigned mask, T value, Shuffle kind, int argument, int width, Place place) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (width < 1 || width > 32 || (width & (width - 1)) != 0)
    fail(place, "the width is no power of two up to 32");
  const size_t bytes = sizeof(T);
  const Shuffled in = {&value, shuffle_source(kind, lane, argument, width)};
  T out;
  warp_operation(mask, place, shuffle_operation, &bytes, &in, &out);
  return out;
}

enum class Reduction { add, min, max, bit_and, bit_or, bit_xor };
struct Reduced {
  Reduction kind;
  bool is_signed;
};
void reduce_operation(const Meeting& meeting, const void* reduced);
template <class T>
T reduce(unsigned mask, T value, Reduction kind, Place place) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  const Reduced how = {kind, std::is_signed_v<T>};
  T out;
  warp_operation(mask, place, reduce_operation, &how, &value, &out);
  return out;
}

}  // namespace simt

inline void __syncwarp(unsigned mask = 0xffffffffu, S2S_SIMT_HERE) {
  simt::warp_barrier(mask, S2S_SIMT_PLACE("__syncwarp"));
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, S2S_SIMT_HERE) {
  return simt::shuffle(mask, value, simt::Shuffle::index, source, width, S2S_SIMT_PLACE("__shfl_sync"));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, S2S_SIMT_HERE) {
  return simt::shuffle(mask, value, simt::Shuffle::up, static_cast<int>(delta), width,
                       S2S_SIMT_PLACE("__shfl_up_sync"));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, S2S_SIMT_HERE) {
  return simt::shuffle(mask, value, simt::Shuffle::down, static_cast<int>(delta), width,
                       S2S_SIMT_PLACE("__shfl_down_sync"));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, S2S_SIMT_HERE) {
  return simt::shuffle(mask, value, simt::Shuffle::exclusive_or, lane_mask, width,
                       S2S_SIMT_PLACE("__shfl_xor_sync"));
}

inline unsigned __ballot_sync(unsigned mask, int predicate, S2S_SIMT_HERE) {
  unsigned out;
  simt::warp_operation(mask, S2S_SIMT_PLACE("__ballot_sync"), simt::ballot_operation, nullptr, &predicate,
                       &out);
  return out;
}
inline int __any_sync(unsigned mask, int predicate, S2S_SIMT_HERE) {
  return __ballot_sync(mask, predicate, file_, line_) != 0;
}
inline int __all_sync(unsigned mask, int predicate, S2S_SIMT_HERE) {
  return __ballot_sync(mask, !predicate, file_, line_) == 0;
}

template <class T>
T __reduce_add_sync(unsigned mask, T value, S2S_SIMT_HERE) {
  return simt::reduce(mask, value, simt::Reduction::add, S2S_SIMT_PLACE("__reduce_add_sync"));
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, S2S_SIMT_HERE) {
  return simt::reduce(mask, value, simt::Reduction::min, S2S_SIMT_PLACE("__reduce_min_sync"));
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, S2S_SIMT_HERE) {
  return simt::reduce(mask, value, simt::Reduction::max, S2S_SIMT_PLACE("__reduce_max_sync"));
}
template <class T>
T __reduce_and_sync(unsigned mask, T value, S2S_SIMT_HERE) {
  return simt::reduce(mask, value, simt::Reduction::bit_and, S2S_SIMT_PLACE("__reduce_and_sync"));
}
template <class T>
T __reduce_or_sync(unsigned mask, T value, S2S_SIMT_HERE) {
  return simt::reduce(mask, value, simt::Reduction::bit_or, S2S_SIMT_PLACE("__reduce_or_sync"));
}
template <class T>
T __reduce_xor_sync(unsigned mask, T value, S2S_SIMT_HERE) {
  return simt::reduce(mask, value, simt::Reduction::bit_xor, S2S_SIMT_PLACE("__reduce_xor_sync"));
}

// The operands of a recurrence in global memory: the states as its products read them, padded, aligned and,
// for int8 weights, quantised.
#pragma once

#include "cuda/detail/recurrent_cell.h"

namespace s2s::cuda {

// What a sequence begins with, and where its scale is kept (int8).
struct InitialState {
  const float* h0;  // [N, H]; null: zeros
  float* units;     // [N] out, or null: what one unit of h0, quantised, stands for
  float* bounds;    // [N] or null: of all its states; set from h0 where it is 0
};

// A warp per sequence, of [first, last), copies h0, or quantises it within its largest magnitude, at least 1;
// NaN where h0 is not finite.
template <class T>
__global__ void __launch_bounds__(128) write_initial(const InitialState from, const int first, const int last,
                                                     const int H, T* to, const int pitch) {
  const int lane = threadIdx.x % 32;
  const int warp = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / 32);
  for (int64_t i = first + warp; i < last; i += gridDim.x * blockDim.x / 32) {
    const float* h = from.h0 ? from.h0 + i * H : nullptr;
    T* const row = to + i * pitch;
    float inverse = 0.0f;
    if constexpr (std::is_same_v<T, int8_t>) {
      float bound = from.bounds ? from.bounds[i] : 0.0f;
      if (bound == 0.0f) {
        float largest = 1.0f, finite = 0.0f;
        for (int k = lane; h && k < H; k += 32) {
          largest = fabsf(h[k]) > largest ? fabsf(h[k]) : largest;
          finite += h[k] * 0.0f;
        }
        for (int distance = 16; distance > 0; distance /= 2) {
          largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
          finite += __shfl_xor_sync(0xffffffffu, finite, distance);
        }
        bound = finite == 0.0f ? largest : finite;
      }
      __syncwarp();  // all lanes have read the bound
      if (lane == 0) (from.bounds ? from.bounds[i] : from.units[i]) = from.bounds ? bound : bound / 127.0f;
      inverse = inverse_of(bound);
    }
    for (int k = lane; k < pitch; k += 32) {
      const bool known = h && k < H && (!std::is_same_v<T, int8_t> || inverse > 0.0f);
      row[k] = operand_of<T>(known ? h[k] : 0.0f, inverse);
    }
  }
}

template <class T>
void place_initial(const InitialState& from, int first, int last, int H, T* to, int pitch) {
  const int blocks = (last - first + 3) / 4;
  launch(write_initial<T>, {.grid = static_cast<unsigned>(blocks < 4096 ? blocks : 4096), .block = 128}, from,
         first, last, H, to, pitch);
}

// Whether products can read h0 where it lies.
template <class T>
bool reads_in_place(const InitialState& from, int H) {
  return std::is_same_v<T, float> && from.h0 && H % 4 == 0 &&
         reinterpret_cast<uintptr_t>(from.h0) % kLoadBytes == 0;
}

// 16 bytes at a time.
static __global__ void __launch_bounds__(256) clear_words(uint4* words, const int64_t count) {
  for (int64_t w = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; w < count;
       w += int64_t{gridDim.x} * blockDim.x)
    words[w] = uint4{0, 0, 0, 0};
}
inline void clear(void* words, int64_t bytes) {
  const int64_t count = bytes / static_cast<int64_t>(sizeof(uint4)), blocks = (count + 255) / 256;
  launch(clear_words, {.grid = static_cast<unsigned>(blocks < 1024 ? blocks : 1024), .block = 256},
         static_cast<uint4*>(words), count);
}

// The two slots of operands in global memory, [N, pitch[.]].
template <class T>
class Slots {
 public:
  // Padding is multiplied by zeros: of floats it must not be NaN.
  Slots(int64_t N, const int (&pitch)[2], bool wanted, bool padded) : pitch_{pitch[0], pitch[1]} {
    if (!wanted) return;
    const int64_t bytes[2] = {N * pitch_[0] * int64_t{sizeof(T)}, N * pitch_[1] * int64_t{sizeof(T)}};
    memory_ = Scratch(static_cast<size_t>(bytes[0] + bytes[1]));
    for (int s = 0; s < 2; ++s)
      slot_[s] = reinterpret_cast<T*>(memory_.template as<char>() + (s ? bytes[0] : 0));
    if (padded && !std::is_same_v<T, int8_t>) clear(slot_[0], bytes[0] + bytes[1]);
  }

  T* at(int s) const { return slot_[s]; }
  int pitch(int s) const { return pitch_[s]; }

 private:
  Scratch memory_;
  int pitch_[2];
  T* slot_[2] = {nullptr, nullptr};
};

}  // namespace s2s::cuda

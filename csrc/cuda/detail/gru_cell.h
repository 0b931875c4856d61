// GRU forward, of every type of weights, the reset gate after the product or before it. KEEP: with what
// backward needs.
#pragma once

#include "cuda/detail/recurrent_cell.h"
#include "math/gates.h"

namespace s2s::cuda {

// What both variants share.
template <class E, bool KEEP>
struct GruState {
  using Element = E;
  static constexpr bool kBackward = false;
  static constexpr int kSegments = 1;

  int hidden;
  std::conditional_t<KEEP, float*, const float*> gates;
  const float* b_hh;
  const float* h0;
  float* y;
  int64_t y_stride;
  float* h_prev;        // KEEP
  float* kept;          // KEEP: [R, H] after: W_hn h + b_hn; before: r h
  float* last;          // each sequence's latest state, from its first step on
  const float* bounds;  // int8: [N] of each sequence's states

  __device__ __forceinline__ float h_before(const Step& step, int i, int u) const {
    const int64_t at = int64_t{i} * hidden + u;
    return i < step.before ? last[at] : h0 ? h0[at] : 0.0f;
  }
  // A sum of float32 products, or of int8's as it stands for.
  __device__ __forceinline__ float product(float sum, float bound) const {
    return std::is_same_v<E, int8_t> ? sum * (bound / 127.0f) : sum;
  }
  __device__ __forceinline__ float bound(int i) const { return std::is_same_v<E, int8_t> ? bounds[i] : 1.0f; }
  template <class Put>
  __device__ __forceinline__ void hand_on(const Step& step, int i, int u, float h, float bound,
                                          const Put& put) const {
    y[(step.offset + i) * y_stride + u] = h;
    last[int64_t{i} * hidden + u] = h;
    put(u, operand_of<E>(h, inverse_of(bound)));
  }
};

template <class E, bool KEEP>
struct GruAfterCell : GruState<E, KEEP> {
  static constexpr int kPhases = 1, kGates[1] = {3};
  using GruState<E, KEEP>::hidden;
  Matrix matrix[1][1];

  struct Inputs {
    float gate[3], h, bound;
  };

  template <int PHASE>
  __device__ __forceinline__ Inputs load(const Step& step, int i, int u) const {
    Inputs in;
    const float* from = this->gates + (step.offset + i) * 3 * hidden + u;
#pragma unroll
    for (int g = 0; g < 3; ++g) in.gate[g] = from[int64_t{g} * hidden];
    in.h = this->h_before(step, i, u);
    in.bound = this->bound(i);
    return in;
  }

  template <int PHASE, class Put>
  __device__ __forceinline__ void finish(const Step& step, int i, int u, const float* sum, const Inputs& in,
                                         const Put& put) const {
    const int64_t row = step.offset + i;
    float gate[3], part[3], h;
#pragma unroll
    for (int g = 0; g < 3; ++g)
      part[g] = __fadd_rn(this->product(sum[g], in.bound), this->b_hh[int64_t{g} * hidden + u]);
#pragma unroll
    for (int g = 0; g < 3; ++g) gate[g] = g < 2 ? in.gate[g] + part[g] : in.gate[g];
    math::gru_unit(gate[0], gate[1], gate[2], part[2], in.h, h);
    if constexpr (KEEP) {
#pragma unroll
      for (int g = 0; g < 3; ++g) this->gates[row * 3 * hidden + int64_t{g} * hidden + u] = gate[g];
      this->h_prev[row * hidden + u] = in.h;
      this->kept[row * hidden + u] = part[2];
    }
    this->hand_on(step, i, u, h, in.bound, put);
  }
};

// First phase: r, z and r h, which the second multiplies; then n and h.
template <class E, bool KEEP>
struct GruBeforeCell : GruState<E, KEEP> {
  static constexpr int kPhases = 2, kGates[2] = {2, 1};
  using GruState<E, KEEP>::hidden;
  Matrix matrix[2][1];
  float* z;  // [N, H] unless KEEP: from one phase to the next

  struct Inputs {
    float gate[2], h, bound;  // second phase: n's part of the input, and z
  };

  // KEEP: z lies where it is kept for backward.
  __device__ __forceinline__ float& z_at(int64_t row, int i, int u) const {
    if constexpr (KEEP) {
      return this->gates[(row * 3 + 1) * hidden + u];
    } else {
      return z[int64_t{i} * hidden + u];
    }
  }

  template <int PHASE>
  __device__ __forceinline__ Inputs load(const Step& step, int i, int u) const {
    Inputs in;
    const int64_t row = step.offset + i;
    const float* from = this->gates + row * 3 * hidden + u;
    if constexpr (PHASE == 0) {
      in.gate[0] = from[0];
      in.gate[1] = from[hidden];
    } else {
      in.gate[0] = from[2 * int64_t{hidden}];
      in.gate[1] = z_at(row, i, u);
    }
    in.h = this->h_before(step, i, u);
    in.bound = this->bound(i);
    return in;
  }

  template <int PHASE, class Put>
  __device__ __forceinline__ void finish(const Step& step, int i, int u, const float* sum, const Inputs& in,
                                         const Put& put) const {
    const int64_t row = step.offset + i;
    const auto part = [&](int g) {
      return __fadd_rn(this->product(sum[PHASE == 0 ? g : 0], in.bound), this->b_hh[int64_t{g} * hidden + u]);
    };
    if constexpr (PHASE == 0) {
      const float r = math::sigmoid(in.gate[0] + part(0));
      const float reset = r * in.h;
      z_at(row, i, u) = math::sigmoid(in.gate[1] + part(1));
      if constexpr (KEEP) {
        this->gates[row * 3 * hidden + u] = r;
        this->kept[row * hidden + u] = reset;
      }
      put(u, operand_of<E>(reset, inverse_of(in.bound)));
    } else {
      float n = in.gate[0] + part(2), h;
      math::gru_unit_reset_before(in.gate[1], n, in.h, h);
      if constexpr (KEEP) {
        this->gates[(row * 3 + 2) * hidden + u] = n;
        this->h_prev[row * hidden + u] = in.h;
      }
      this->hand_on(step, i, u, h, in.bound, put);
    }
  }
};

}  // namespace s2s::cuda

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

  template <int PHASE>
  __device__ __forceinline__ int put_column(int) const {
    return 0;
  }

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
  // What a step ends with.
  __device__ __forceinline__ void keep_state(const Step& step, int i, int u, float before, float h) const {
    const int64_t row = step.offset + i;
    if constexpr (KEEP) h_prev[row * hidden + u] = before;
    y[row * y_stride + u] = h;
    last[int64_t{i} * hidden + u] = h;
  }
};

template <class E, bool KEEP>
struct GruAfterCell : GruState<E, KEEP> {
  static constexpr int kPhases = 1, kGates[1] = {3}, kPuts[1] = {1};
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

  struct Outputs {
    float gate[3], hn, h;
  };

  template <int PHASE, class Put>
  __device__ __forceinline__ Outputs finish(const Step&, int, int u, const float* sum, const Inputs& in,
                                            const Put& put) const {
    Outputs out;
    const auto part = [&](int g) {
      return __fadd_rn(this->product(sum[g], in.bound), this->b_hh[int64_t{g} * hidden + u]);
    };
    out.hn = part(2);
#pragma unroll
    for (int g = 0; g < 3; ++g) out.gate[g] = g < 2 ? in.gate[g] + part(g) : in.gate[g];
    math::gru_unit(out.gate[0], out.gate[1], out.gate[2], out.hn, in.h, out.h);
    put(0, out.h, inverse_of(in.bound));
    return out;
  }

  template <int PHASE>
  __device__ __forceinline__ void keep(const Step& step, int i, int u, const Inputs& in,
                                       const Outputs& out) const {
    const int64_t row = step.offset + i;
    if constexpr (KEEP) {
#pragma unroll
      for (int g = 0; g < 3; ++g) this->gates[row * 3 * hidden + int64_t{g} * hidden + u] = out.gate[g];
      this->kept[row * hidden + u] = out.hn;
    }
    this->keep_state(step, i, u, in.h, out.h);
  }
};

// First phase: r, z and r h, which the second multiplies; then n and h.
template <class E, bool KEEP>
struct GruBeforeCell : GruState<E, KEEP> {
  static constexpr int kPhases = 2, kGates[2] = {2, 1}, kPuts[2] = {1, 1};
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

  struct Outputs {
    float r, z, reset;  // first phase
    float n, h;         // second
  };

  template <int PHASE, class Put>
  __device__ __forceinline__ Outputs finish(const Step&, int, int u, const float* sum, const Inputs& in,
                                            const Put& put) const {
    Outputs out = {};
    const auto part = [&](int g) {
      return __fadd_rn(this->product(sum[PHASE == 0 ? g : 0], in.bound), this->b_hh[int64_t{g} * hidden + u]);
    };
    if constexpr (PHASE == 0) {
      out.r = math::sigmoid(in.gate[0] + part(0));
      out.z = math::sigmoid(in.gate[1] + part(1));
      out.reset = out.r * in.h;
      put(0, out.reset, inverse_of(in.bound));
    } else {
      out.n = in.gate[0] + part(2);
      math::gru_state(in.gate[1], out.n, in.h, out.h);
      put(0, out.h, inverse_of(in.bound));
    }
    return out;
  }

  template <int PHASE>
  __device__ __forceinline__ void keep(const Step& step, int i, int u, const Inputs& in,
                                       const Outputs& out) const {
    const int64_t row = step.offset + i;
    if constexpr (PHASE == 0) {
      z_at(row, i, u) = out.z;
      if constexpr (KEEP) {
        this->gates[row * 3 * hidden + u] = out.r;
        this->kept[row * hidden + u] = out.reset;
      }
    } else {
      if constexpr (KEEP) this->gates[(row * 3 + 2) * hidden + u] = out.n;
      this->keep_state(step, i, u, in.h, out.h);
    }
  }
};

}  // namespace s2s::cuda

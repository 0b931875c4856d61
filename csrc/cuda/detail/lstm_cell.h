// LSTM forward, of every type of weights. KEEP: with what backward needs.
#pragma once

#include "cuda/detail/recurrent_cell.h"
#include "math/gates.h"

namespace s2s::cuda {

template <class E, bool KEEP>
struct LstmCell {
  using Element = E;
  static constexpr bool kBackward = false;
  static constexpr int kPhases = 1, kGates[1] = {4}, kSegments = 1, kPuts[1] = {1};

  int hidden;
  Matrix matrix[1][1];
  std::conditional_t<KEEP, float*, const float*> gates;
  const float* h0;
  const float* c0;
  float* y;
  int64_t y_stride;
  float* h_prev;  // KEEP
  float* c_prev;  // KEEP
  float* hn;      // each sequence's latest state, from its first step on
  float* cn;
  const float* units;  // int8: [N] what one unit of h0, quantised, stands for

  struct Inputs {
    float gate[4], c, h, unit;
  };

  template <int PHASE>
  __device__ __forceinline__ Inputs load(const Step& step, int i, int u) const {
    Inputs in;
    const float* from = gates + (step.offset + i) * 4 * hidden + u;
#pragma unroll
    for (int g = 0; g < 4; ++g) in.gate[g] = from[int64_t{g} * hidden];
    const bool begins = i >= step.before;
    const int64_t at = int64_t{i} * hidden + u;
    in.c = !begins ? cn[at] : c0 ? c0[at] : 0.0f;
    if constexpr (KEEP) in.h = !begins ? hn[at] : h0 ? h0[at] : 0.0f;
    if constexpr (std::is_same_v<E, int8_t>) in.unit = begins ? units[i] : 1.0f / 127.0f;
    return in;
  }

  struct Outputs {
    float gate[4], c, h;
  };

  template <int PHASE>
  __device__ __forceinline__ int put_column(int) const {
    return 0;
  }
  template <int PHASE, class Put>
  __device__ __forceinline__ Outputs finish(const Step&, int, int, const float* sum, const Inputs& in,
                                            const Put& put) const {
    Outputs out;
#pragma unroll
    for (int g = 0; g < 4; ++g) {
      const float product = std::is_same_v<E, int8_t> ? sum[g] * in.unit : sum[g];
      out.gate[g] = __fadd_rn(product, in.gate[g]);
    }
    math::lstm_unit(out.gate[0], out.gate[1], out.gate[2], out.gate[3], in.c, out.c, out.h);
    put(0, out.h, 127.0f);
    return out;
  }

  template <int PHASE>
  __device__ __forceinline__ void keep(const Step& step, int i, int u, const Inputs& in,
                                       const Outputs& out) const {
    const int64_t row = step.offset + i, at = int64_t{i} * hidden + u;
    if constexpr (KEEP) {
#pragma unroll
      for (int g = 0; g < 4; ++g) gates[row * 4 * hidden + int64_t{g} * hidden + u] = out.gate[g];
      h_prev[row * hidden + u] = in.h;
      c_prev[row * hidden + u] = in.c;
    }
    y[row * y_stride + u] = out.h;
    hn[at] = out.h;
    cn[at] = out.c;
  }
};

}  // namespace s2s::cuda

// Split by units, as lstm.cu. With the reset gate before the product a step has two phases.
#include "cuda/detail/gru_cell.h"
#include "cuda/detail/recurrence.h"
#include "cuda/table.h"
#include "ops/gru.h"

namespace s2s::cuda {
namespace {

// dh rests between the steps: what goes straight to h_prev. The product of the gates' gradients that the last
// step left is added to it.
struct GruGradient {
  using Element = float;
  static constexpr bool kBackward = true;

  int hidden;
  float* gates;
  float* dgates_hn;
  const float* h_prev;
  const float* hn;
  const float* dy;
  int64_t dy_stride;
  float* dh;

  struct Inputs {
    float r, z, n, h_prev, hn, dy, dh;
  };

  __device__ __forceinline__ Inputs inputs_of(const Step& step, int i, int u) const {
    Inputs in = {};
    const int64_t row = step.offset + i;
    in.dh = dh[int64_t{i} * hidden + u];
    if (i >= step.rows) return in;
    in.r = gates[row * 3 * hidden + u];
    in.z = gates[(row * 3 + 1) * hidden + u];
    in.n = gates[(row * 3 + 2) * hidden + u];
    in.h_prev = h_prev[row * hidden + u];
    in.hn = hn[row * hidden + u];
    in.dy = dy[row * dy_stride + u];
    return in;
  }
};

struct GruAfterBackwardCell : GruGradient {
  static constexpr int kPhases = 1, kGates[1] = {1}, kSegments = 2, kPuts[1] = {3};
  Matrix matrix[1][2];

  struct Outputs {
    float dr, dz, dn, dhn, dh;
  };

  template <int PHASE>
  __device__ __forceinline__ Inputs load(const Step& step, int i, int u) const {
    return inputs_of(step, i, u);
  }
  template <int PHASE>
  __device__ __forceinline__ int put_column(int run) const {
    return run < 2 ? run * hidden : static_cast<int>(row_pitch<float>(2 * hidden));
  }
  template <int PHASE, class Put>
  __device__ __forceinline__ Outputs finish(const Step& step, int i, int, const float* sum, const Inputs& in,
                                            const Put& put) const {
    Outputs out = {};
    const float from_next = i < step.before ? in.dh + sum[0] : in.dh;
    out.dh = from_next;
    if (i >= step.rows) return out;
    math::gru_unit_backward_update(in.z, in.n, in.h_prev, from_next + in.dy, out.dz, out.dn, out.dh);
    out.dr = out.dn * in.hn * in.r * (1.0f - in.r);
    out.dhn = out.dn * in.r;
    put(0, out.dr, 1.0f);
    put(1, out.dz, 1.0f);
    put(2, out.dhn, 1.0f);
    return out;
  }
  template <int PHASE>
  __device__ __forceinline__ void keep(const Step& step, int i, int u, const Inputs&,
                                       const Outputs& out) const {
    const int64_t row = step.offset + i;
    dh[int64_t{i} * hidden + u] = out.dh;
    if (i >= step.rows) return;
    gates[row * 3 * hidden + u] = out.dr;
    gates[(row * 3 + 1) * hidden + u] = out.dz;
    gates[(row * 3 + 2) * hidden + u] = out.dn;
    dgates_hn[row * hidden + u] = out.dhn;
  }
};

// First phase: all but the reset gate, whose gradient waits for that of r h, the second phase's product.
struct GruBeforeBackwardCell : GruGradient {
  static constexpr int kPhases = 2, kGates[2] = {1, 1}, kSegments = 1, kPuts[2] = {1, 2};
  Matrix matrix[2][1];

  struct Outputs {
    float dr, dz, dn, dh;
  };

  template <int PHASE>
  __device__ __forceinline__ Inputs load(const Step& step, int i, int u) const {
    return inputs_of(step, i, u);
  }
  template <int PHASE>
  __device__ __forceinline__ int put_column(int run) const {
    return run * hidden;
  }
  template <int PHASE, class Put>
  __device__ __forceinline__ Outputs finish(const Step& step, int i, int, const float* sum, const Inputs& in,
                                            const Put& put) const {
    Outputs out = {};
    if constexpr (PHASE == 0) {
      const float from_next = i < step.before ? in.dh + sum[0] : in.dh;
      out.dh = from_next;
      if (i >= step.rows) return out;
      math::gru_unit_backward_update(in.z, in.n, in.h_prev, from_next + in.dy, out.dz, out.dn, out.dh);
      put(0, out.dn, 1.0f);
    } else {
      out.dr = sum[0] * in.h_prev * in.r * (1.0f - in.r);
      out.dh = math::fma(sum[0], in.r, in.dh);
      put(0, out.dr, 1.0f);
      put(1, in.z, 1.0f);  // by now its gradient
    }
    return out;
  }
  template <int PHASE>
  __device__ __forceinline__ void keep(const Step& step, int i, int u, const Inputs&,
                                       const Outputs& out) const {
    const int64_t row = step.offset + i;
    dh[int64_t{i} * hidden + u] = out.dh;
    if (i >= step.rows) return;
    if constexpr (PHASE == 0) {
      gates[(row * 3 + 1) * hidden + u] = out.dz;
      gates[(row * 3 + 2) * hidden + u] = out.dn;
      dgates_hn[row * hidden + u] = out.dn;
    } else {
      gates[row * 3 * hidden + u] = out.dr;
    }
  }
};

}  // namespace

void gru(const GruArgs& x) {
  const int H = static_cast<int>(x.shape.hidden);
  const GruState<float, true> state{H,          x.gates,  x.b_hh, x.h0,     x.y,
                                    x.y_stride, x.h_prev, x.hn,   x.h_last, nullptr};
  const InitialState initial{x.h0, nullptr, nullptr};
  if (x.reset_after) {
    run_recurrence(GruAfterCell<float, true>{state, {{{x.w_hh, H, 3 * H}}}}, x.shape, initial, true);
  } else {
    run_recurrence(GruBeforeCell<float, true>{state, {{{x.w_hh, H, 2 * H}}, {{x.w_hn, H, H}}}, nullptr},
                   x.shape, initial, true);
  }
}

void gru_backward(const GruBackwardArgs& x) {
  const int H = static_cast<int>(x.shape.hidden);
  const GruGradient gradient{H, x.gates, x.dgates_hn, x.h_prev, x.hn, x.dy, x.dy_stride, x.dh};
  const Matrix w_hh_t{x.w_hh_t, 2 * H, H}, w_hn_t{x.w_hn_t, H, H};
  if (x.reset_after) {
    run_recurrence(GruAfterBackwardCell{gradient, {{w_hh_t, w_hn_t}}}, x.shape, {}, true);
  } else {
    run_recurrence(GruBeforeBackwardCell{gradient, {{w_hh_t}, {w_hn_t}}}, x.shape, {}, true);
  }
}

}  // namespace s2s::cuda

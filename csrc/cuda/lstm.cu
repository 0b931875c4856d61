// Split by units: each block computes all four gates of its own units (detail/recurrence.h has the routes).
#include "cuda/detail/lstm_cell.h"
#include "cuda/detail/recurrence.h"
#include "cuda/table.h"
#include "ops/lstm.h"

namespace s2s::cuda {
namespace {

// The product of a step is of the gates' gradients that the last step left: the gradient of h.
struct LstmBackwardCell {
  using Element = float;
  static constexpr bool kBackward = true;
  static constexpr int kPhases = 1, kGates[1] = {1}, kSegments = 1, kPuts[1] = {4};

  int hidden;
  Matrix matrix[1][1];
  float* gates;
  const float* c_prev;
  const float* dy;
  int64_t dy_stride;
  float* dh;
  float* dc;

  struct Inputs {
    float gate[4], c_prev, dy, dh, dc;
  };

  template <int PHASE>
  __device__ __forceinline__ Inputs load(const Step& step, int i, int u) const {
    Inputs in = {};
    const int64_t row = step.offset + i, at = int64_t{i} * hidden + u;
    if (i >= step.before) in.dh = dh[at];
    if (i >= step.rows) return in;
#pragma unroll
    for (int g = 0; g < 4; ++g) in.gate[g] = gates[(row * 4 + g) * hidden + u];
    in.c_prev = c_prev[row * hidden + u];
    in.dy = dy[row * dy_stride + u];
    in.dc = dc[at];
    return in;
  }

  struct Outputs {
    float gate[4], dh, dc;
  };

  template <int PHASE>
  __device__ __forceinline__ int put_column(int run) const {
    return run * hidden;
  }
  template <int PHASE, class Put>
  __device__ __forceinline__ Outputs finish(const Step& step, int i, int, const float* sum, const Inputs& in,
                                            const Put& put) const {
    Outputs out = {{in.gate[0], in.gate[1], in.gate[2], in.gate[3]}, i < step.before ? sum[0] : in.dh, in.dc};
    if (i >= step.rows) return out;
    math::lstm_unit_backward(out.gate[0], out.gate[1], out.gate[2], out.gate[3], in.c_prev, out.dh + in.dy,
                             out.dc);
#pragma unroll
    for (int g = 0; g < 4; ++g) put(g, out.gate[g], 1.0f);
    return out;
  }

  template <int PHASE>
  __device__ __forceinline__ void keep(const Step& step, int i, int u, const Inputs&,
                                       const Outputs& out) const {
    const int64_t row = step.offset + i, at = int64_t{i} * hidden + u;
    if (i >= step.rows) {
      dh[at] = out.dh;
      return;
    }
    dc[at] = out.dc;
#pragma unroll
    for (int g = 0; g < 4; ++g) gates[(row * 4 + g) * hidden + u] = out.gate[g];
  }
};

}  // namespace

void lstm(const LstmArgs& x) {
  const int H = static_cast<int>(x.shape.hidden);
  const LstmCell<float, true> cell{
      H,      {{{x.w_hh, H, 4 * H}}}, x.gates, x.h0, x.c0, x.y, x.y_stride, x.h_prev, x.c_prev, x.hn, x.cn,
      nullptr};
  run_recurrence(cell, x.shape, {x.h0, nullptr, nullptr}, true);
}

void lstm_backward(const LstmBackwardArgs& x) {
  const int H = static_cast<int>(x.shape.hidden);
  const LstmBackwardCell cell{H, {{{x.w_hh_t, 4 * H, H}}}, x.gates, x.c_prev, x.dy, x.dy_stride, x.dh, x.dc};
  run_recurrence(cell, x.shape, {}, true);
}

}  // namespace s2s::cuda

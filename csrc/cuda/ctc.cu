// Two kernels. Of the rows, each by a warp or a block (detail/row.h): what log softmax subtracts, and the
// softmax where there are gradients. Of the sequences, each by a block: row after row its threads have the
// states, then row after row backward.
#include "cuda/detail/row.h"
#include "cuda/table.h"
#include "math/ctc.h"
#include "math/softmax.h"
#include "ops/ctc.h"

namespace s2s::cuda {
namespace {

constexpr int kBlock = 128;

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>) ctc_rows(CtcArgs x, double* norms, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const Row<THREADS> row(x.logits + r * x.classes, x.classes, aligned);
  const TopAndTotal sums = row.top_and_total();
  if (row.rank() == 0) norms[r] = double{sums.top} + __builtin_log(double{sums.total});
  if (!x.dlogits) return;
  const float factor = x.scale / sums.total, top = sums.top;
  row.for_quads([&](int c, float4 q) {
    each([&](float& v) { v = math::exp(v - top) * factor; }, q);
    store_quad(x.dlogits + r * x.classes + c, q, row.width() - c, aligned);
  });
}

// One sequence, as every thread of its block sees it.
struct Walk {
  int64_t row, T, S;
  const int32_t *labels, *first;
  double* forward;     // as in cpu/ctc.cpp; becomes the shares
  double *even, *odd;  // likewise backward, of rows of these numbers
};

__device__ __forceinline__ Walk walk_of(const CtcArgs& x, double* scratch, int64_t n) {
  const int64_t row = x.row_offsets[n], label = x.label_offsets[n];
  const int64_t L = x.label_offsets[n + 1] - label, most = 2 * int64_t{x.most_labels} + 1;
  double* backward = scratch + x.lattice_size + 2 * most * n;
  return {row,
          x.row_offsets[n + 1] - row,
          2 * L + 1,
          x.labels + label,
          x.first + label,
          scratch + x.lattice[n],
          backward,
          backward + most};
}

__device__ __forceinline__ double log_p(const CtcArgs& x, const Walk& w, const double* norms, int64_t t,
                                        int64_t s) {
  const int64_t row = w.row + t, c = s % 2 ? w.labels[s / 2] : x.blank;
  return double{x.logits[row * x.classes + c]} - norms[row];
}

__device__ __forceinline__ void walk_forward(const CtcArgs& x, const Walk& w, const double* norms) {
  for (int64_t t = 0; t < w.T; ++t) {
    double* now = w.forward + t * w.S;
    for (int64_t s = threadIdx.x; s < w.S; s += kBlock) {
      double arriving = s < 2 ? 0.0 : math::kLogZero;
      if (t > 0) arriving = math::ctc_arriving(now - w.S, w.labels, s);
      now[s] = arriving == math::kLogZero ? arriving : arriving + log_p(x, w, norms, t, s);
    }
    __syncthreads();
  }
}

// The shares of row t, added up by label, leave dlogits.
__device__ __forceinline__ void subtract_shares(const CtcArgs& x, const Walk& w, const double* shares,
                                                float* dlogits) {
  double at_blank = 0.0;
  for (int64_t s = threadIdx.x; s < w.S; s += kBlock) {
    if (s % 2 == 0) {
      at_blank += shares[s];
      continue;
    }
    const int64_t place = s / 2;
    if (w.first[place] != place) continue;
    double sum = 0.0;
    for (int64_t i = place; 2 * i + 1 < w.S; ++i) {
      if (w.first[i] == place) sum += shares[2 * i + 1];
    }
    float& to = dlogits[w.labels[place]];
    to = static_cast<float>(to - x.scale * sum);
  }
  at_blank = group_sum<kBlock>(at_blank);
  if (threadIdx.x == 0) dlogits[x.blank] = static_cast<float>(dlogits[x.blank] - x.scale * at_blank);
}

__device__ __forceinline__ void walk_backward(const CtcArgs& x, const Walk& w, const double* norms,
                                              double log_p_all) {
  for (int64_t t = w.T - 1; t >= 0; --t) {
    double *now = t % 2 ? w.odd : w.even, *shares = w.forward + t * w.S;
    const double* next = t % 2 ? w.even : w.odd;
    for (int64_t s = threadIdx.x; s < w.S; s += kBlock) {
      double sum = s + 2 < w.S ? math::kLogZero : 0.0;
      if (t + 1 < w.T) {
        sum = next[s];
        if (s + 1 < w.S) sum = math::log_add_exact(sum, next[s + 1]);
        if (s + 2 < w.S && math::ctc_skips(w.labels, s + 2)) sum = math::log_add_exact(sum, next[s + 2]);
      }
      shares[s] = __builtin_exp(shares[s] + sum - log_p_all);
      now[s] = sum + log_p(x, w, norms, t, s);
    }
    __syncthreads();
    subtract_shares(x, w, shares, x.dlogits + (w.row + t) * x.classes);
  }
}

__global__ void __launch_bounds__(kBlock) ctc_sequences(CtcArgs x, double* scratch, const double* norms) {
  const int64_t n = blockIdx.x;
  const Walk w = walk_of(x, scratch, n);
  walk_forward(x, w, norms);
  const double* last = w.forward + (w.T - 1) * w.S;
  const double all = w.S > 1 ? math::log_add_exact(last[w.S - 1], last[w.S - 2]) : last[0];
  const bool impossible = all == math::kLogZero;
  if (threadIdx.x == 0) x.losses[n] = impossible && x.zero_infinity ? 0.0f : static_cast<float>(-all);
  if (!x.dlogits) return;
  __syncthreads();  // the last row has been read: shares may take its place
  if (!impossible) return walk_backward(x, w, norms, all);
  const float nothing = x.zero_infinity ? 0.0f : __builtin_nanf("");
  float* dlogits = x.dlogits + w.row * x.classes;
  for (int64_t i = threadIdx.x; i < w.T * x.classes; i += kBlock) dlogits[i] = nothing;
}

}  // namespace

void ctc_loss(const CtcArgs& x) {
  if (x.sequences == 0) return;
  const int64_t numbers = x.lattice_size + 2 * (2 * int64_t{x.most_labels} + 1) * x.sequences;
  const Scratch scratch(static_cast<size_t>(numbers) * sizeof(double)),
      norms(static_cast<size_t>(x.rows) * sizeof(double));
  const bool whole = aligned(x.logits, x.classes) && (!x.dlogits || aligned(x.dlogits));
  with_threads(x.classes, [&]<int THREADS>() {
    launch(ctc_rows<THREADS>, launch_rows<THREADS>(x.rows), x, norms.as<double>(), whole);
  });
  launch(ctc_sequences, {.grid = blocks(x.sequences), .block = kBlock}, x, scratch.as<double>(),
         norms.as<const double>());
}

}  // namespace s2s::cuda

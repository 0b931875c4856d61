// Sequences are split over threads; the alignments of one are walked state by state, in double.
#include "ops/ctc.h"

#include "core/threads.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"
#include "math/ctc.h"

namespace s2s::S2S_ISA {
namespace {

// One sequence: its rows, labels and numbers.
struct Walk {
  int64_t T, L, S;      // rows, labels, states
  const float* logits;  // [T, classes]
  const int32_t* labels;
  double* forward;      // [T, S] log P of the rows up to t, ended in s
  double* backward[2];  // [S] log P of the rows after t, begun in s: of this row and of the next
};

Walk walk_of(const CtcArgs& x, int64_t n) {
  const int64_t row = x.row_offsets[n], label = x.label_offsets[n];
  const int64_t L = x.label_offsets[n + 1] - label, most = 2 * int64_t{x.most_labels} + 1;
  double* backward = x.scratch + x.lattice_size + 2 * most * n;
  return {x.row_offsets[n + 1] - row,
          L,
          2 * L + 1,
          x.logits + row * x.classes,
          x.labels + label,
          x.scratch + x.lattice[n],
          {backward, backward + most}};
}

// log softmax of some classes of a row.
struct RowTerms {
  const float* logits;
  double top, log_total;
  double operator()(int64_t c) const { return (double{logits[c]} - top) - log_total; }
};

RowTerms terms_of(const CtcArgs& x, const Walk& w, int64_t t) {
  const float* logits = w.logits + t * x.classes;
  const float top = row_max(logits, x.classes);
  return {logits, double{top}, __builtin_log(double{sum_exp(logits, x.classes, top)})};
}

int32_t label_of(const CtcArgs& x, const Walk& w, int64_t s) {
  return s % 2 ? w.labels[s / 2] : x.blank;
}

double walk_forward(const CtcArgs& x, const Walk& w) {
  for (int64_t t = 0; t < w.T; ++t) {
    const RowTerms log_p = terms_of(x, w, t);
    const double blank = log_p(x.blank);
    double* now = w.forward + t * w.S;
    const double* before = now - w.S;
    for (int64_t s = 0; s < w.S; ++s) {
      double arriving = s < 2 ? 0.0 : math::kLogZero;
      if (t > 0) arriving = math::ctc_arriving(before, w.labels, s);
      now[s] = arriving == math::kLogZero ? arriving : arriving + (s % 2 ? log_p(w.labels[s / 2]) : blank);
    }
  }
  const double* last = w.forward + (w.T - 1) * w.S;
  return w.L ? math::log_add_exact(last[w.S - 1], last[w.S - 2]) : last[0];
}

// log P of the rows after t, for every state of row t, from that of the next row, to which its own
// probabilities have been added.
void step_back(const Walk& w, const double* next, double* now) {
  for (int64_t s = 0; s < w.S; ++s) {
    double sum = next[s];
    if (s + 1 < w.S) sum = math::log_add_exact(sum, next[s + 1]);
    if (s + 2 < w.S && math::ctc_skips(w.labels, s + 2)) sum = math::log_add_exact(sum, next[s + 2]);
    now[s] = sum;
  }
}

// dlogits = scale (softmax - the share of the paths that are at this label in this row).
void walk_backward(const CtcArgs& x, const Walk& w, double log_p_all, float* dlogits) {
  double *now = w.backward[0], *next = w.backward[1];
  for (int64_t t = w.T - 1; t >= 0; --t) {
    if (t + 1 == w.T) {
      for (int64_t s = 0; s < w.S; ++s) now[s] = s + 2 < w.S ? math::kLogZero : 0.0;
    } else {
      step_back(w, next, now);
    }
    const RowTerms log_p = terms_of(x, w, t);
    const double* forward = w.forward + t * w.S;
    float* d = dlogits + t * x.classes;
    const Vec shift = splat(static_cast<float>(log_p.top)),
              factor = splat(x.scale / static_cast<float>(__builtin_exp(log_p.log_total)));
    for (int64_t c = 0; c < x.classes; c += kLanes) {
      const int lanes = lanes_left(x.classes, c);
      store(d + c, math::exp(load(log_p.logits + c, lanes) - shift) * factor, lanes);
    }
    double at_blank = 0.0;
    for (int64_t s = 0; s < w.S; ++s) {
      const double share = __builtin_exp(forward[s] + now[s] - log_p_all);
      if (s % 2) {
        float& to = d[w.labels[s / 2]];
        to = static_cast<float>(to - x.scale * share);
      } else {
        at_blank += share;
      }
      now[s] += log_p(label_of(x, w, s));
    }
    d[x.blank] = static_cast<float>(d[x.blank] - x.scale * at_blank);
    double* swap = now;
    now = next;
    next = swap;
  }
}

void one_sequence(const CtcArgs& x, int64_t n) {
  const Walk w = walk_of(x, n);
  const double log_p = walk_forward(x, w);
  const bool impossible = log_p == math::kLogZero;
  x.losses[n] = impossible && x.zero_infinity ? 0.0f : static_cast<float>(-log_p);
  if (!x.dlogits) return;
  float* dlogits = x.dlogits + int64_t{x.row_offsets[n]} * x.classes;
  if (!impossible) return walk_backward(x, w, log_p, dlogits);
  const float nothing = x.zero_infinity ? 0.0f : __builtin_nanf("");
  for (int64_t i = 0; i < w.T * x.classes; ++i) dlogits[i] = nothing;
}

}  // namespace

void ctc_loss(const CtcArgs& x) {
  parallel(x.lattice_size < (1 << 10) ? 1 : 64, [&](int part, int parts) {
    for (int64_t n = part; n < x.sequences; n += parts) one_sequence(x, n);
  });
}

}  // namespace s2s::S2S_ISA

// The states h of a recurrence that keeps nothing for backward: two copies, of which a step reads one and
// writes the other, as floats and, for int8 weights, quantised. A single step reads the caller's and writes
// the caller's.
#pragma once

#include <cstring>

#include "cpu/detail/panel.h"
#include "cpu/detail/sequence.h"
#include "ops/lstm_inference.h"

namespace s2s::S2S_ISA {
namespace {

// Calls f(first, last, index): sequences [first, last) begin in place `index` of the walk.
template <class F>
S2S_INLINE void for_beginnings(const SequenceShape& s, const F& f) {
  if (!s.reverse) {
    if (s.steps > 0) f(0, s.batch_sizes[0], 0);
    return;
  }
  for (int64_t index = 0, before = 0; index < s.steps; ++index) {
    const int64_t running = s.batch_sizes[step_at(s, index)];
    if (running > before) f(before, running, index);
    before = running;
  }
}

// Calls f(first, last, index): sequences [first, last) end in place `index` of the walk.
template <class F>
S2S_INLINE void for_ends(const SequenceShape& s, const F& f) {
  if (s.reverse) {
    if (s.steps > 0) f(0, s.batch_sizes[0], s.steps - 1);
    return;
  }
  for (int64_t t = 0; t < s.steps; ++t) {
    const int64_t still = t + 1 < s.steps ? s.batch_sizes[t + 1] : 0;
    if (still < s.batch_sizes[t]) f(still, s.batch_sizes[t], t);
  }
}

template <class Element>
class States {
 public:
  static constexpr bool kInt8 = sizeof(Element) == 1;

  // Puts the initial states (null: zero) where the first step of each sequence reads them. bounds: null where
  // every later state lies in [-1, 1]; else [N], of each sequence's states, and set from its h0 where it is
  // 0.
  States(const SequenceShape& s, const float* h0, float* hn, float* bounds, void* scratch)
      : N_(s.sequences), H_(s.hidden), stride_(quantized_stride(s.hidden)), bounds_(bounds) {
    float* floats = static_cast<float*>(scratch);
    callers_ = s.steps == 1 && h0 && (hn + N_ * H_ <= h0 || h0 + N_ * H_ <= hn);
    read_[0] = callers_ ? h0 : floats;
    read_[1] = write_[1] = callers_ ? hn : floats + N_ * H_;
    write_[0] = callers_ ? nullptr : floats;
    quantized_ = reinterpret_cast<Quantized*>(floats + (2 * N_ * H_ + 15) / 16 * 16);
    units_ = reinterpret_cast<float*>(quantized_ + 2 * N_ * stride_);
    for_beginnings(s, [&](int64_t first, int64_t last, int64_t index) {
      for (int64_t i = first; i < last; ++i) begin(index, i, h0 ? h0 + i * H_ : nullptr);
    });
  }

  const float* h(int64_t index, int64_t i) const { return read_[index & 1] + i * H_; }

  Rows<Element> rows(int64_t index) const {
    if constexpr (kInt8) {
      return {quantized_ + (index & 1) * N_ * stride_, stride_, units_ + (index & 1) * N_};
    } else {
      return {h(index, 0), H_};
    }
  }

  // The state after step `index`, of the units of one vector.
  [[gnu::always_inline]] void store_h(int64_t index, int64_t i, int64_t unit, Vec h, int lanes) const {
    const int64_t row = ((index + 1) & 1) * N_ + i;
    store(write_[(index + 1) & 1] + i * H_ + unit, h, lanes);
    if constexpr (kInt8) {
      const float bound = bounds_ ? bounds_[i] : 1.0f;
      store_quantized(quantized_ + row * stride_ + unit, h, splat(math::inverse_of(bound)));
      if (unit == 0) units_[row] = bound / 127.0f;
    }
  }

  void copy_last(const SequenceShape& s, float* hn) const {
    if (callers_) return;
    for_ends(s, [&](int64_t first, int64_t last, int64_t index) {
      std::memcpy(hn + first * H_, h(index + 1, first), static_cast<size_t>((last - first) * H_) * 4);
    });
  }

 private:
  void begin(int64_t index, int64_t i, const float* from) {
    const int64_t row = (index & 1) * N_ + i;
    float* own = callers_ ? nullptr : write_[index & 1] + i * H_;
    if (own && from) std::memcpy(own, from, static_cast<size_t>(H_) * 4);
    if (own && !from) std::memset(own, 0, static_cast<size_t>(H_) * 4);
    if constexpr (kInt8) {
      const float* h = own ? own : from;
      // In a later part of a walk as store_h would have, though a rounding error has left h beyond its bound.
      const float bound = bounds_ && bounds_[i] != 0.0f ? bounds_[i] : bound_of(h, H_, 1.0f);
      units_[row] = quantize_within(h, H_, bound, quantized_ + row * stride_);
      if (bounds_) bounds_[i] = bound;
      // The other copy's lanes past H are multiplied by zero weights, but must be numbers of this program.
      std::memset(quantized_ + (((index + 1) & 1) * N_ + i) * stride_, 0,
                  static_cast<size_t>(stride_) * sizeof(Quantized));
    }
  }

  int64_t N_, H_, stride_;
  bool callers_;          // whether read_[0] and write_[1] are
  const float* read_[2];  // [N, H] each
  float* write_[2];       // the same
  Quantized* quantized_;  // [2, N, stride]
  float* units_;          // [2, N] what one unit of each quantised row stands for
  float* bounds_;
};

}  // namespace
}  // namespace s2s::S2S_ISA

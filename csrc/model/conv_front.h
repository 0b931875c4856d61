// ConvFront: layers of strided convolutions over time before the recurrent ones, y_t = tanh(W [x_{t s - left}
// ... x_{t s - left + width - 1}] + b), left = (width - 1) / 2. What is outside the sequence is zero; a
// sequence of T steps becomes one of ceil(T / stride).
#pragma once

#include "model/config.h"
#include "model/linear.h"
#include "model/time_windows.h"

namespace s2s::model {

class ConvFront {
 public:
  ConvFront() = default;
  static void declare(Parameters& all, const Config& config);
  ConvFront(const Parameters& all, const Config& config);

  using Packed = std::vector<ops::Packed>;
  Packed pack(ComputeType type) const;

  struct Level {
    Ragged longer{nullptr, 0};
    Tensor windows, y;  // [R', width C], [R', channels]
  };
  using Saved = std::vector<Level>;

  // x [R, C] of `ragged`, which becomes the shorter one.
  Tensor forward(const Packed& packed, Tensor x, Ragged& ragged, Saved* saved) const;
  // dy [R', channels] of the shorter `ragged` -> dx where it is wanted, else undefined; adds to the gradients
  // of the parameters.
  Tensor backward(const Saved& saved, const Ragged& ragged, Tensor dy, bool want) const;
  // One layer on windows [R', width C] that are there already.
  void layer(const Packed& packed, size_t layer, const Tensor& windows, const Tensor& y) const;

 private:
  TimeWindow window_;
  int64_t channels_ = 0;
  std::vector<Linear> layers_;
};

}  // namespace s2s::model

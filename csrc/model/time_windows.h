// Neighbouring steps of a sequence side by side, for encoders that shorten it: joined or skipped states
// between layers, and convolutions over time.
#pragma once

#include "core/ragged.h"
#include "core/tensor.h"

namespace s2s::model {

// Output t is made of the steps t stride - left + j, j < width; those outside the sequence are zeros.
struct TimeWindow {
  int64_t stride = 1, width = 1, left = 0;
  bool trivial() const { return stride == 1 && width == 1; }
  bool overlaps() const { return width > stride; }
};

// The sequences' lengths in the caller's order.
std::vector<int32_t> lengths_of(const Ragged& ragged);
// Sequences of ceil(length / stride) steps.
Ragged shortened(const Ragged& ragged, int64_t stride);

// x [rows of longer, W] -> [rows of shorter, width W]
Tensor windows(const Tensor& x, const Ragged& longer, const Ragged& shorter, const TimeWindow& window);
// Its gradient, of the same shapes.
Tensor windows_backward(const Tensor& dy, const Ragged& longer, const Ragged& shorter,
                        const TimeWindow& window);

}  // namespace s2s::model

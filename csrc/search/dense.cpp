#include "search/dense.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace s2s {

void log_softmax_row(const float* x, int64_t n, float* y) {
  const float max = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - max);
  const float log_sum = static_cast<float>(std::log(sum));
  // x - max is exact near the maximum, where it matters; x - (max + log_sum) would round away log_sum.
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - max - log_sum;
}

void TopK::operator()(const float* x, int64_t n, int64_t k, float* values, int32_t* indices) {
  heap_.clear();
  for (int64_t i = 0; i < n; ++i) {
    if (!take(x[i], static_cast<int32_t>(i), k)) {
      values[0] = std::numeric_limits<float>::quiet_NaN();
      return;
    }
  }
  write(k, values, indices);
}

void TopK::of(std::span<const int32_t> places, const float* x, int64_t k, float* values, int32_t* indices) {
  heap_.clear();
  for (const int32_t place : places) {
    if (!take(x[place], place, k)) {
      values[0] = std::numeric_limits<float>::quiet_NaN();
      return;
    }
  }
  write(k, values, indices);
}

// False where the value is NaN.
bool TopK::take(float value, int32_t index, int64_t k) {
  // Places may come in any order; of equals the lower one is kept. In this order every comparison with NaN is
  // false, so that NaN falls through to the test for it.
  const bool full = static_cast<int64_t>(heap_.size()) == k;
  if (full &&
      (value < heap_.front().value || (value == heap_.front().value && index > heap_.front().index))) {
    return true;
  }
  if (std::isnan(value)) return false;
  if (full) {
    std::pop_heap(heap_.begin(), heap_.end(), better);
    heap_.pop_back();
  }
  heap_.push_back({value, index});
  std::push_heap(heap_.begin(), heap_.end(), better);
  return true;
}

void TopK::write(int64_t k, float* values, int32_t* indices) {
  std::sort_heap(heap_.begin(), heap_.end(), better);
  for (int64_t i = 0; i < k; ++i) {
    const bool there = i < static_cast<int64_t>(heap_.size());
    values[i] = there ? heap_[static_cast<size_t>(i)].value : -std::numeric_limits<float>::infinity();
    indices[i] = there ? heap_[static_cast<size_t>(i)].index : 0;
  }
}

}  // namespace s2s

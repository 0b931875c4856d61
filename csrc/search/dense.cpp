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
    // In this order every comparison with NaN is false, so that NaN falls through to the test for it.
    const bool full = static_cast<int64_t>(heap_.size()) == k;
    if (full && x[i] <= heap_.front().value) continue;
    if (std::isnan(x[i])) {
      values[0] = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    if (full) {
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.pop_back();
    }
    heap_.push_back({x[i], static_cast<int32_t>(i)});
    std::push_heap(heap_.begin(), heap_.end(), better);
  }
  std::sort_heap(heap_.begin(), heap_.end(), better);
  for (int64_t i = 0; i < k; ++i) {
    values[i] = heap_[i].value;
    indices[i] = heap_[i].index;
  }
}

}  // namespace s2s

// Plain row operations for Steppers that have dense scores. Models have fused kernels of their own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace s2s {

// y = x - log(sum(exp(x))) over a row of n. A row with NaN or without a finite maximum becomes NaN, but for
// -infinity, which stays what it is in a row that has a finite maximum. x may be y.
void log_softmax_row(const float* x, int64_t n, float* y);

// The k largest of n, descending, of equals the lower index first.
class TopK {
 public:
  // 1 <= k <= n. NaN in x: values[0] is NaN and the rest is not written.
  void operator()(const float* x, int64_t n, int64_t k, float* values, int32_t* indices);

  // The same of these places of x alone, each once; where they are fewer than k, the rest are -infinity, at
  // 0.
  void of(std::span<const int32_t> places, const float* x, int64_t k, float* values, int32_t* indices);

 private:
  struct Entry {
    float value;
    int32_t index;
  };
  static bool better(const Entry& a, const Entry& b) {
    return a.value > b.value || (a.value == b.value && a.index < b.index);
  }
  bool take(float value, int32_t index, int64_t k);
  void write(int64_t k, float* values, int32_t* indices);

  std::vector<Entry> heap_;  // of the best so far, the worst of them on top
};

}  // namespace s2s

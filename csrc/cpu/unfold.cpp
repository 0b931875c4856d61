// Rows are split over threads.
#include "ops/unfold.h"

#include "core/threads.h"
#include "cpu/table.h"
#include "cpu/vec.h"

namespace s2s::S2S_ISA {
namespace {

template <class F>
void for_rows(const UnfoldArgs& x, const F& f) {
  parallel(x.rows * x.places * x.width < (1 << 14) ? 1 : 64, [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) f(x.x + r * x.places, x.y + r * x.places * x.width);
  });
}

// The part [begin, end) of the window around place s that lies in the row.
Range inside(const UnfoldArgs& x, int64_t s) {
  const int64_t first = s - x.width / 2, past = first + x.width - x.places;
  return {first < 0 ? -first : 0, past > 0 ? x.width - past : x.width};
}

void windows_of_row(const UnfoldArgs& x, const float* row, float* y) {
  for (int64_t s = 0; s < x.places; ++s, y += x.width) {
    const Range in = inside(x, s);
    const float* from = row + s - x.width / 2;
    for (int64_t j = 0; j < in.begin; ++j) y[j] = 0.0f;
    for (int64_t j = in.begin; j < in.end; j += kLanes) {
      const int lanes = lanes_left(in.end, j);
      store(y + j, load(from + j, lanes), lanes);
    }
    for (int64_t j = in.end; j < x.width; ++j) y[j] = 0.0f;
  }
}

// Place p of the row was element p - s + width / 2 of the windows around the places s.
void add_windows(const UnfoldArgs& x, float* row, const float* y) {
  const int64_t half = x.width / 2;
  for (int64_t p = 0; p < x.places; ++p) {
    float sum = 0.0f;
    for (int64_t j = 0; j < x.width; ++j) {
      const int64_t s = p - j + half;
      if (s >= 0 && s < x.places) sum += y[s * x.width + j];
    }
    row[p] = sum;
  }
}

}  // namespace

void unfold(const UnfoldArgs& x) {
  for_rows(x, [&](float* row, float* y) { windows_of_row(x, row, y); });
}

void unfold_backward(const UnfoldArgs& x) {
  for_rows(x, [&](float* row, float* y) { add_windows(x, row, y); });
}

}  // namespace s2s::S2S_ISA

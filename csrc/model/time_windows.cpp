#include "model/time_windows.h"

#include "ops/embedding.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

// For each row of the shorter ones, the `width` rows that it is made of; `outside` for none.
Tensor rows_of_windows(const Ragged& longer, const Ragged& shorter, const TimeWindow& w, int32_t outside) {
  Tensor index = Tensor::host({shorter.rows() * w.width}, DType::i32);
  int32_t* to = index.i32();
  for (int64_t t = 0; t < shorter.steps(); ++t) {
    for (int64_t i = 0; i < shorter.batch_sizes[static_cast<size_t>(t)]; ++i) {
      const int32_t n = shorter.order[static_cast<size_t>(i)];
      const int32_t from = longer.position[static_cast<size_t>(n)];
      const int64_t length = longer.lengths[static_cast<size_t>(from)];
      for (int64_t j = 0; j < w.width; ++j) {
        const int64_t step = t * w.stride - w.left + j;
        *to++ = step >= 0 && step < length ? static_cast<int32_t>(longer.row(step, from)) : outside;
      }
    }
  }
  return index;
}

// Windows that do not overlap: for each row of the longer ones its place among them; -1 where it has none.
Tensor places_in_windows(const Ragged& longer, const Ragged& shorter, const TimeWindow& w) {
  Tensor index = Tensor::host({longer.rows()}, DType::i32);
  for (int64_t t = 0; t < longer.steps(); ++t) {
    for (int64_t i = 0; i < longer.batch_sizes[static_cast<size_t>(t)]; ++i) {
      const int32_t n = longer.order[static_cast<size_t>(i)];
      const int32_t to = shorter.position[static_cast<size_t>(n)];
      const int64_t step = (t + w.left) / w.stride, j = (t + w.left) % w.stride;
      const bool inside = j < w.width && step < shorter.lengths[static_cast<size_t>(to)];
      index.i32()[longer.row(t, i)] = inside ? static_cast<int32_t>(shorter.row(step, to) * w.width + j) : -1;
    }
  }
  return index;
}

}  // namespace

std::vector<int32_t> lengths_of(const Ragged& ragged) {
  std::vector<int32_t> lengths;
  for (const int32_t i : ragged.position) lengths.push_back(ragged.lengths[static_cast<size_t>(i)]);
  return lengths;
}

Ragged shortened(const Ragged& ragged, int64_t stride) {
  std::vector<int32_t> lengths = lengths_of(ragged);
  for (int32_t& length : lengths) length = static_cast<int32_t>((length + stride - 1) / stride);
  return {lengths.data(), ragged.sequences()};
}

Tensor windows(const Tensor& x, const Ragged& longer, const Ragged& shorter, const TimeWindow& w) {
  const int64_t W = x.dim(1), rows = shorter.rows();
  const Tensor y = Tensor::empty({rows, w.width * W});
  ops::gather_rows(x, rows_of_windows(longer, shorter, w, -1), y.reshape({rows * w.width, W}));
  return y;
}

Tensor windows_backward(const Tensor& dy, const Ragged& longer, const Ragged& shorter, const TimeWindow& w) {
  const int64_t W = dy.dim(1) / w.width, rows = longer.rows();
  const Tensor parts = dy.reshape({dy.dim(0) * w.width, W});
  if (!w.overlaps()) {
    const Tensor dx = Tensor::empty({rows, W});
    ops::gather_rows(parts, places_in_windows(longer, shorter, w), dx);
    return dx;
  }
  // Adding rows to rows by index, in the order of the rows, is what the embedding's gradient does. What is
  // outside has a row of its own, after the last.
  const Tensor sums = Tensor::zeros({rows + 1, W});
  ops::embedding_backward(rows_of_windows(longer, shorter, w, static_cast<int32_t>(rows)), parts, sums);
  return sums.rows(0, rows);
}

}  // namespace s2s::model

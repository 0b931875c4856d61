#include "model/rows.h"

#include <algorithm>

#include "core/error.h"
#include "math/philox.h"

namespace s2s::model {

Tensor to_tensor(const std::vector<int32_t>& values) {
  Tensor t = Tensor::host({static_cast<int64_t>(values.size())}, DType::i32);
  std::copy(values.begin(), values.end(), t.i32());
  return t;
}

namespace {

// Calls f(ragged row, t, caller's sequence) for every row.
template <class F>
void for_rows(const Ragged& ragged, const F& f) {
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    for (int64_t i = 0; i < ragged.batch_sizes[static_cast<size_t>(t)]; ++i) {
      f(ragged.row(t, i), t, ragged.order[static_cast<size_t>(i)]);
    }
  }
}

std::vector<int32_t> starts(const Ragged& ragged) {
  std::vector<int32_t> begin(ragged.order.size() + 1, 0);
  for (size_t n = 0; n < ragged.order.size(); ++n) {
    begin[n + 1] = begin[n] + ragged.lengths[static_cast<size_t>(ragged.position[n])];
  }
  return begin;
}

}  // namespace

Tensor flat_rows(const Ragged& ragged) {
  const auto begin = starts(ragged);
  Tensor index = Tensor::host({ragged.rows()}, DType::i32);
  for_rows(ragged, [&](int64_t row, int64_t t, int32_t n) {
    index.i32()[row] = begin[static_cast<size_t>(n)] + static_cast<int32_t>(t);
  });
  return index;
}

Tensor ragged_rows(const Ragged& ragged) {
  const auto begin = starts(ragged);
  Tensor index = Tensor::host({ragged.rows()}, DType::i32);
  for_rows(ragged, [&](int64_t row, int64_t t, int32_t n) {
    index.i32()[begin[static_cast<size_t>(n)] + t] = static_cast<int32_t>(row);
  });
  return index;
}

Tensor previous_rows(const Ragged& ragged) {
  Tensor index = Tensor::host({ragged.rows()}, DType::i32);
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    for (int64_t i = 0; i < ragged.batch_sizes[static_cast<size_t>(t)]; ++i) {
      index.i32()[ragged.row(t, i)] = t ? static_cast<int32_t>(ragged.row(t - 1, i)) : -1;
    }
  }
  return index;
}

Tensor flat_offsets(const int32_t* lengths, int64_t count) {
  Tensor offsets = Tensor::host({count + 1}, DType::i32);
  int64_t total = 0;
  for (int64_t n = 0; n <= count; ++n) {
    check("batch", total <= INT32_MAX, "Expected at most ", INT32_MAX, " rows in one batch, got more.");
    offsets.i32()[n] = static_cast<int32_t>(total);
    if (n < count) total += lengths[n];
  }
  return offsets;
}

bool drops_word(const Dropout& dropout, int op, int64_t example, int64_t time) {
  if (dropout.word == 0.0f) return false;
  const math::Philox words = math::philox(math::dropout_counter(0, static_cast<int32_t>(time), example, op),
                                          math::dropout_key0(dropout.seed), dropout.update);
  return math::uniform(words.word[0]) < dropout.word;
}

RowNames row_names(const Ragged& ragged, const int64_t* example_ids, const Dropout& dropout) {
  RowNames names{Tensor::host({ragged.rows()}, DType::i64), Tensor::host({ragged.rows()}, DType::i32), {}};
  if (dropout.zoneout) names.step = Tensor::host({ragged.rows()}, DType::i32);
  for_rows(ragged, [&](int64_t row, int64_t t, int32_t n) {
    names.example.i64()[row] = example_ids ? example_ids[n] : n;
    names.time.i32()[row] = dropout.variational ? 0 : static_cast<int32_t>(t);
    if (dropout.zoneout) names.step.i32()[row] = static_cast<int32_t>(t);
  });
  return names;
}

}  // namespace s2s::model

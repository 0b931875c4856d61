// The rows of a batch's input, each once: what a layer makes of a token it makes of it wherever it stands.
#pragma once

#include "core/tensor.h"

namespace s2s::model {

struct DistinctRows {
  Tensor index;  // int32 [R]: row r is the distinct row index[r]
  int64_t count = 0;
  bool defined() const { return index.defined(); }
};

struct DistinctTokens {
  Tensor ids;  // int32 [count], in the order in which they come
  DistinctRows rows;
  bool defined() const { return rows.defined(); }
};

// Of int32 ids [R] below `vocabulary`; undefined where so few repeat that it does not pay, and on a device.
DistinctTokens distinct_tokens(const Tensor& ids, int64_t vocabulary);

}  // namespace s2s::model

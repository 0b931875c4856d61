// From the best continuations of each row those that may be taken.
#pragma once

#include <cstdint>
#include <span>

namespace s2s::model {

struct BestColumns {
  int64_t rows, best;
  const float* log_probs;  // [rows, best] descending
  const int32_t* columns;  // [rows, best]; -1 in the first place: the row's scores are not numbers
};

// log_probs and tokens [rows, k]: without those forbidden, -infinity where fewer are left, NaN in the first
// place of a row without numbers. vocabulary: the token of each column; empty: the column itself.
void take_allowed(const BestColumns& of, std::span<const int32_t> vocabulary,
                  std::span<const int32_t> forbidden, int64_t k, float* log_probs, int32_t* tokens);

}  // namespace s2s::model

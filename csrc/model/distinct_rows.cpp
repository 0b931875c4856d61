#include "model/distinct_rows.h"

#include <vector>

#include "model/rows.h"

namespace s2s::model {

DistinctTokens distinct_tokens(const Tensor& ids, int64_t vocabulary) {
  if (!current_device().is_cpu()) return {};
  const auto most = static_cast<size_t>(ids.size() * 3 / 4);
  std::vector<int32_t> place(static_cast<size_t>(vocabulary), -1), found;
  const Tensor index = Tensor::empty(ids.shape(), DType::i32);
  for (int64_t r = 0; r < ids.size(); ++r) {
    int32_t& at = place[static_cast<size_t>(ids.i32()[r])];
    if (at < 0) {
      if (found.size() == most) return {};
      at = static_cast<int32_t>(found.size());
      found.push_back(ids.i32()[r]);
    }
    index.i32()[r] = at;
  }
  return {to_tensor(found), {index, static_cast<int64_t>(found.size())}};
}

}  // namespace s2s::model

#include "model/scheduled_sampling.h"

#include <algorithm>

#include "math/philox.h"
#include "model/rows.h"
#include "ops/rows.h"
#include "ops/sample.h"

namespace s2s::model {
namespace {
constexpr int64_t kChunk = 1 << 22;  // logits kept at a time

Tensor to_tensor(const std::vector<float>& values) {
  Tensor t = Tensor::host({static_cast<int64_t>(values.size())}, DType::f32);
  std::copy(values.begin(), values.end(), t.f32());
  return t;
}
}  // namespace

SampledInputs::SampledInputs(const Sampling& sampling, const Ragged& ragged, const int64_t* example_ids)
    : sampling_(sampling) {
  std::vector<int32_t> from, to;
  std::vector<float> u;
  begin_.push_back(0);
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    for (int64_t i = 0; t > 0 && i < ragged.batch_sizes[static_cast<size_t>(t)]; ++i) {
      const int32_t n = ragged.order[static_cast<size_t>(i)];
      const math::Philox words = math::philox(
          math::dropout_counter(0, static_cast<int32_t>(t), example_ids ? example_ids[n] : n, kDrawTarget),
          math::dropout_key0(sampling.seed), sampling.update);
      if (math::uniform(words.word[0]) >= sampling.probability) continue;
      from.push_back(static_cast<int32_t>(ragged.row(t - 1, i)));
      to.push_back(static_cast<int32_t>(ragged.row(t, i)));
      u.push_back(math::uniform(words.word[1]));
    }
    begin_.push_back(static_cast<int64_t>(to.size()));
  }
  if (to.empty()) return;
  const Device device = current_device();
  from_ = model::to_tensor(from).to(device);
  to_ = model::to_tensor(to).to(device);
  u_ = to_tensor(u).to(device);
}

void SampledInputs::draw(int64_t t, const Tensor& attentional, const Tensor& ids) const {
  const int64_t end = begin_[static_cast<size_t>(t) + 1];
  const int64_t chunk = std::max<int64_t>(1, kChunk / sampling_.columns);
  for (int64_t begin = begin_[static_cast<size_t>(t)]; begin < end; begin += chunk) {
    const int64_t count = std::min(chunk, end - begin);
    const Tensor before = Tensor::empty({count, attentional.dim(1)});
    ops::gather_rows(attentional, from_.rows(begin, count), before);
    ops::sample(sampling_.logits(before), u_.rows(begin, count), to_.rows(begin, count), ids);
  }
}

}  // namespace s2s::model

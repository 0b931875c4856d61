// Scheduled sampling (Bengio et al. 2015): an input of the decoder is, with some probability, not the
// target's token but one drawn from the network's own distribution at the step before. No gradient goes
// through the choice. Which inputs, and by which numbers they are drawn, depends on seed, update, example and
// time alone.
#pragma once

#include <functional>
#include <vector>

#include "core/ragged.h"
#include "core/tensor.h"

namespace s2s::model {

struct Sampling {
  float probability = 0.0f;  // 0: the target's tokens alone
  uint64_t seed = 0;
  uint32_t update = 0;
  int64_t columns = 0;                            // V
  std::function<Tensor(const Tensor&)> logits{};  // attentional vectors [K, F] -> [K, V]

  bool active() const { return probability > 0.0f; }
};

class SampledInputs {
 public:
  // example_ids null: the caller's index.
  SampledInputs(const Sampling& sampling, const Ragged& ragged, const int64_t* example_ids);
  // Before step t, for those of its rows that are drawn: attentional [R, F], known up to step t - 1 -> ids
  // [R].
  void draw(int64_t t, const Tensor& attentional, const Tensor& ids) const;

 private:
  const Sampling& sampling_;
  std::vector<int64_t> begin_;  // [steps + 1] each step's part of the following
  Tensor from_, to_, u_;        // row of the step before, row of the step, number
};

}  // namespace s2s::model

#include "core/ragged.h"

#include <algorithm>
#include <numeric>

namespace s2s {

Ragged::Ragged(const int32_t* given, int64_t sequences)
    : count(sequences),
      lengths(static_cast<size_t>(sequences)),
      order(static_cast<size_t>(sequences)),
      position(static_cast<size_t>(sequences)) {
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return given[a] > given[b]; });
  for (size_t i = 0; i < order.size(); ++i) {
    lengths[i] = given[order[i]];
    position[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
  }
  const int64_t steps = lengths.empty() ? 0 : lengths[0];
  batch_sizes.resize(static_cast<size_t>(steps));
  offsets.assign(static_cast<size_t>(steps) + 1, 0);
  int64_t active = count;
  for (int64_t t = 0; t < steps; ++t) {
    while (active > 0 && lengths[static_cast<size_t>(active - 1)] <= t) --active;
    batch_sizes[static_cast<size_t>(t)] = active;
    offsets[static_cast<size_t>(t) + 1] = offsets[static_cast<size_t>(t)] + active;
  }
}

Ragged Ragged::single_step(int64_t count) {
  Ragged ragged;
  ragged.batch_sizes.resize(1);
  ragged.offsets.assign(2, 0);
  ragged.set_single_step(count);
  return ragged;
}

void Ragged::set_uniform(int64_t sequences, int64_t steps) {
  count = sequences;
  batch_sizes.assign(static_cast<size_t>(steps), sequences);
  offsets.resize(static_cast<size_t>(steps) + 1);
  for (size_t t = 0; t < offsets.size(); ++t) offsets[t] = static_cast<int64_t>(t) * sequences;
}

void Ragged::set_single_step(int64_t sequences) {
  count = sequences;
  batch_sizes[0] = sequences;
  offsets[1] = sequences;
}

}  // namespace s2s

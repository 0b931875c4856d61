// One source after the other: there is little to do.
#include "ops/beam_step.h"

#include <cstring>

#include "cpu/table.h"
#include "math/beam.h"

namespace s2s::S2S_ISA {
namespace {

void advance(const BeamStepArgs& x, int64_t source, int64_t step) {
  const int64_t first = source * x.beam, live = x.live[source];
  const bool may_end = step >= x.min_length;
  int32_t* ranks = x.ranks + first;
  for (int64_t i = 0; i < live; ++i)
    ranks[i] = static_cast<int32_t>(math::beam_next_rank(x, first + i, 0, may_end));
  int64_t chosen = 0;
  for (int64_t place = 0; chosen < x.beam; ++place) {
    int64_t from = -1;
    double most = 0;
    for (int64_t i = 0; i < live; ++i) {
      if (ranks[i] >= x.k) continue;
      const double sum = x.sums[first + i] + static_cast<double>(x.log_probs[(first + i) * x.k + ranks[i]]);
      if (from < 0 || math::beam_before(sum, i, most, from)) from = i, most = sum;
    }
    if (from < 0) break;
    const int32_t token = math::beam_token(x, x.columns[(first + from) * x.k + ranks[from]]);
    if (!math::beam_ends(x, token)) {
      x.parents[first + chosen] = static_cast<int32_t>(first + from);
      x.tokens[first + chosen] = token;
      x.scratch[first + chosen++] = most;
    } else if (place < x.beam) {
      math::beam_keep(x, source, most / x.scales[step + 1]);
    }
    ranks[from] = static_cast<int32_t>(math::beam_next_rank(x, first + from, ranks[from] + 1, may_end));
  }
  chosen = math::beam_survivors(x, source, step, chosen);
  x.live[source] = static_cast<int32_t>(chosen);
  for (int64_t i = 0; i < x.beam; ++i) {
    if (i < chosen) {
      x.sums[first + i] = x.scratch[first + i];
    } else {
      x.parents[first + i] = static_cast<int32_t>(first);
      x.tokens[first + i] = x.end_tokens[0];
    }
  }
}

void move_rows(const BeamStepArgs& x, int64_t source) {
  for (int64_t m = 0; m < x.move_count; ++m) {
    const RowMove& move = x.moves[m];
    for (int64_t r = source * x.beam; r < (source + 1) * x.beam; ++r)
      std::memcpy(move.to + r * move.width, move.from + x.parents[r] * move.width,
                  static_cast<size_t>(move.width) * sizeof(float));
  }
}

}  // namespace

void beam_step(const BeamStepArgs& x) {
  const int64_t given = x.sources * x.beam * x.k, step = *x.step;
  if (step < 0) return;
  float* kept = x.kept + 2 * step * given;
  std::memcpy(kept, x.log_probs, static_cast<size_t>(given) * sizeof(float));
  std::memcpy(kept + given, x.columns, static_cast<size_t>(given) * sizeof(int32_t));
  bool any = false;
  for (int64_t source = 0; source < x.sources; ++source) {
    if (x.live[source] > 0) advance(x, source, step);
    if (x.live[source] == 0) continue;
    move_rows(x, source);
    any = true;
  }
  *x.step = *x.done = static_cast<int32_t>(any ? step + 1 : -(step + 1));
}

}  // namespace s2s::S2S_ISA

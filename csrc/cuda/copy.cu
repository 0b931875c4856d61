// A warp has a row of logits, a block a wide one (detail/row.h), and the places of its source, thread by
// thread. Of copy_mass a thread has one place of one row.
#include "cuda/detail/classes.h"
#include "cuda/detail/elements.h"
#include "cuda/table.h"
#include "math/copy.h"
#include "math/softmax.h"
#include "ops/copy.h"

namespace s2s::cuda {
namespace {

struct Places {
  const int32_t *copies, *first;
  int length;
};

__device__ __forceinline__ Places places_of(const CopySource& source, int64_t row) {
  const int n = source.example[row], begin = source.offsets[n];
  return {source.copies + begin, source.first + begin, source.offsets[n + 1] - begin};
}

__global__ void __launch_bounds__(kElementsBlock) mass_of_place(CopyMassArgs x) {
  const int64_t at = int64_t{blockIdx.x} * kElementsBlock + threadIdx.x;
  if (at >= x.rows * x.stride) return;
  const int64_t row = at / x.stride;
  const int place = static_cast<int>(at - row * x.stride);
  const Places places = places_of(x.source, row);
  float sum = 0.0f;
  if (place < places.length && places.first[place] == place) {
    for (int s = place; s < places.length; ++s) {
      if (places.first[s] == place) sum += x.weights[row * x.stride + s];
    }
  }
  x.mass[at] = sum;
}

// The lowest of the most probable tokens; `generated` (1 - c) / total.
template <int THREADS>
__device__ __forceinline__ int most_probable(const Row<THREADS>& row, const Places& places,
                                             const float* logits, const float* mass, float gate,
                                             TopAndTotal sums) {
  const int generated_best = argmax(row, sums.top);
  const float copied = math::sigmoid(gate), generated = math::sigmoid(-gate) / sums.total;
  const auto p = [&](int s) {
    const int id = places.copies[s];
    const float q = id < row.width() ? generated * math::exp(logits[id] - sums.top) : 0.0f;
    return math::fma(copied, mass[s], q);
  };
  float mine = generated;
  for (int s = row.rank(); s < places.length; s += THREADS) mine = fmaxf(mine, p(s));
  const float highest = group_max<THREADS>(mine);
  int best = generated >= highest ? generated_best : INT32_MAX;
  for (int s = row.rank(); s < places.length; s += THREADS) {
    if (p(s) >= highest) best = min(best, places.copies[s]);
  }
  best = group_min<THREADS>(best);
  return generated_best < 0 ? -1 : best;
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>)
    copy_cross_entropy_rows(CopyCrossEntropyArgs x, bool aligned) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const Places places = places_of(x.source, r);
  const float* logits = x.logits + r * x.classes;
  const float* mass = x.mass + r * x.stride;
  const Row<THREADS> row(logits, x.classes, aligned);
  const int target = x.targets[r];
  const float gate = x.gate[r];

  float copied = 0.0f;
  for (int s = row.rank(); s < places.length; s += THREADS) {
    if (places.copies[s] == target) copied += mass[s];
  }
  copied = group_sum<THREADS>(copied);
  const TopAndTotal sums = row.top_and_total();
  const float log_total = math::log(sums.total);
  const float log_q =
      target < row.width() ? -math::negative_log_likelihood(logits[target], sums.top, log_total) : -INFINITY;
  const math::CopyTerms terms = math::copy_terms(gate, log_q, copied);
  const int best = most_probable(row, places, logits, mass, gate, sums);
  const float below = x.smoothing != 0.0f ? mean_below(row, sums.top) : 0.0f;
  if (row.rank() == 0) {
    x.losses[r] =
        x.smoothing != 0.0f ? math::smoothed_loss(terms.nll, x.smoothing, below, log_total) : terms.nll;
    x.nll[r] = terms.nll;
    x.best[r] = best;
  }
  if (!x.dlogits) return;

  row.meet();  // the logits of the target and the places have been read: dlogits may take their place
  const math::CopyRates rates = math::copy_rates(x.scale, x.smoothing, sums.total, x.classes, gate, terms);
  if (row.rank() == 0) x.dgate[r] = rates.dgate;
  for (int s = row.rank(); s < x.stride; s += THREADS) {
    const bool hit = s < places.length && places.copies[s] == target;
    x.dweights[r * x.stride + s] = hit ? rates.dweight : 0.0f;
  }
  write_gradient(row, sums.top, rates.logits, target, x.dlogits + r * x.classes, aligned);
}

template <int THREADS>
__global__ void __launch_bounds__(kRowBlock<THREADS>) copy_log_softmax_rows(CopyLogSoftmaxArgs x) {
  const int64_t r = row_of_group<THREADS>();
  if (r >= x.rows) return;
  const Places places = places_of(x.source, r);
  float* logits = x.x + r * x.width;
  const Row<THREADS> row(logits, x.classes, false);
  const float gate = x.gate[r];
  const TopAndTotal sums = row.top_and_total();
  const float shift = sums.top, below = math::log(sums.total) - math::log_sigmoid(-gate);
  row.for_quads([&](int c, float4 q) {
    each([&](float& v) { v = math::log_softmax(v, shift, below); }, q);
    store_quad(logits + c, q, row.width() - c, false);
  });
  for (int64_t c = x.classes + row.rank(); c < x.width; c += THREADS) logits[c] = -INFINITY;
  row.meet();
  for (int s = row.rank(); s < places.length; s += THREADS) {
    if (places.first[s] != s) continue;  // each token once
    float& p = logits[places.copies[s]];
    p = math::log_add(p, math::log_copied(gate, x.mass[r * x.stride + s]));
  }
}

}  // namespace

void copy_mass(const CopyMassArgs& x) {
  const int64_t count = x.rows * x.stride;
  if (count == 0) return;
  launch(mass_of_place, {.grid = blocks(ceil_div(count, kElementsBlock)), .block = kElementsBlock}, x);
}

void copy_cross_entropy(const CopyCrossEntropyArgs& x) {
  if (x.rows == 0) return;
  const bool whole = aligned(x.logits, x.classes) && (!x.dlogits || aligned(x.dlogits));
  const auto rows = [&]<int THREADS>() {
    launch(copy_cross_entropy_rows<THREADS>, launch_rows<THREADS>(x.rows), x, whole);
  };
  // Blocks of 1024 threads would leave each too few registers.
  x.classes <= 1024 ? rows.operator()<kWarp>() : rows.operator()<256>();
}

void copy_log_softmax(const CopyLogSoftmaxArgs& x) {
  if (x.rows == 0) return;
  with_threads(x.classes, [&]<int THREADS>() {
    launch(copy_log_softmax_rows<THREADS>, launch_rows<THREADS>(x.rows), x);
  });
}

}  // namespace s2s::cuda

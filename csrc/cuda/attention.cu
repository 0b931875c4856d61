// Forward in two kernels: the scores, each by a warp, and the context, a strip of 128 columns by a block that
// makes the weights it needs from the scores; or, where there are few queries, both in one. Backward in four
// or five: the gradients of the weights and of the scores, then those of the queries, which are sums over a
// source, and those of the source, which are sums over its queries (detail/attention.h,
// detail/attention_backward.h).
#include "cuda/detail/attention_backward.h"
#include "cuda/table.h"
#include "ops/attention.h"

namespace s2s::cuda {
namespace {

Pairs pairs_of(const AttentionArgs& x) {
  return {x.rows, x.weights_stride, x.offsets, x.example};
}

// dweights [rows, longest], to which those from elsewhere are added, become dscores in place. A warp has a
// query.
__global__ void __launch_bounds__(kStripBlock)
    dweights_to_dscores(Pairs pairs, const float* all_weights, const float* from_weights,
                        float* all_dweights) {
  const int64_t row = int64_t{blockIdx.x} * kStripWarps + threadIdx.x / kWarp;
  if (row >= pairs.rows) return;
  const int lane = threadIdx.x % kWarp, length = source_of(pairs, pairs.example[row]).length;
  const float* weights = all_weights + row * pairs.longest;
  float* dweights = all_dweights + row * pairs.longest;
  double mean = 0.0, total = 0.0;
  for (int s = lane; s < length; s += kWarp) {
    if (from_weights) dweights[s] += from_weights[row * pairs.longest + s];
    mean += double{weights[s]} * dweights[s];
    total += double{weights[s]};
  }
  mean = group_sum<kWarp>(mean) / group_sum<kWarp>(total);
  for (int s = lane; s < length; s += kWarp) dweights[s] = math::dscore(weights[s], dweights[s], mean);
}

struct MlpQueryGradient {
  Pairs pairs;
  int64_t width;
  const float* dscores;  // [rows, longest]
  const float* query;    // [rows, width]
  int64_t query_stride;
  const float* keys;    // [sum S, width]
  const float* energy;  // [width]
  float* dquery;        // [rows, width] out
  int64_t dquery_stride;
  float* denergy;    // [rows, width] out: the part of each query
  float* own_dkeys;  // [rows, longest, width] added to, where each query has keys of its own; else null
  bool aligned = false;
};

// A block has a strip of a query, a warp every eighth row of its source.
__global__ void __launch_bounds__(kStripBlock) mlp_query_gradient(MlpQueryGradient x) {
  const int64_t row = blockIdx.x, c = strip_column(), left = x.width - c;
  const Source source = source_of(x.pairs, x.pairs.example[row]);
  float4 query = load_quad(x.query + row * x.query_stride + c, left, x.aligned);
  float4 energy = load_quad(x.energy + c, left, x.aligned);
  const int64_t first_key = x.own_dkeys ? row * x.pairs.longest : source.begin;
  float4 sums[2] = {};  // dquery, denergy
  for (int s = strip_warp(); s < source.length; s += kStripWarps) {
    const float dscore = x.dscores[row * x.pairs.longest + s];
    const int64_t at = (first_key + s) * x.width + c;
    float4 key = load_quad(x.keys + at, left, x.aligned), dkeys = {};
    if (x.own_dkeys) dkeys = load_quad(x.own_dkeys + at, left, x.aligned);
    each([&](float& dquery, float& dkey, float& denergy, float& q, float& k,
             float& e) { math::mlp_gradient(dscore, e, q, k, dquery, dkey, denergy); },
         sums[0], dkeys, sums[1], query, key, energy);
    if (x.own_dkeys) store_quad(x.own_dkeys + at, dkeys, left, x.aligned);  // else another kernel's
  }
  const float4 sum = together(sums);
  if (strip_warp() == 0) store_quad(x.dquery + row * x.dquery_stride + c, sum, left, x.aligned);
  if (strip_warp() == 1) store_quad(x.denergy + row * x.width + c, sum, left, x.aligned);
}

void launch_mlp_query_gradient(MlpQueryGradient x) {
  x.aligned = aligned(x.query, x.query_stride) && aligned(x.keys, x.width) && aligned(x.energy) &&
              aligned(x.dquery, x.dquery_stride) && aligned(x.denergy) &&
              (!x.own_dkeys || aligned(x.own_dkeys, x.width));
  launch(mlp_query_gradient, {.grid = strips(x.pairs.rows, x.width), .block = kStripBlock}, x);
}

}  // namespace

void attention(const AttentionArgs& x) {
  if (x.rows == 0) return;
  PairSums score = {.pairs = pairs_of(x),
                    .width = x.key_width,
                    .a = x.query,
                    .a_stride = x.query_stride,
                    .b = x.energy,
                    .keys = x.keys,
                    .own_keys = x.own_keys};
  WeightedSums sum = {.pairs = pairs_of(x),
                      .width = x.value_width,
                      .values = x.values,
                      .out = x.context,
                      .out_stride = x.context_stride,
                      .weights = x.weights};
  if (takes_both(sum)) {
    x.energy ? launch_scores_and_sums<MlpTerm>(score, sum) : launch_scores_and_sums<DotTerm>(score, sum);
    return;
  }
  const Scratch scores(static_cast<size_t>(x.rows * x.weights_stride) * sizeof(float));
  score.out = scores.as<float>(), sum.factors = scores.as<float>();
  x.energy ? launch_pair_sums<MlpTerm>(score) : launch_pair_sums<DotTerm>(score);
  launch_weighted_sums<true>(sum);
}

void attention_backward(const AttentionBackwardArgs& g) {
  const AttentionArgs& x = g.forward;
  if (x.rows == 0) return;
  const Pairs pairs = pairs_of(x);
  launch_pair_sums<DweightTerm>({.pairs = pairs,
                                 .width = x.value_width,
                                 .a = g.dcontext,
                                 .a_stride = g.dcontext_stride,
                                 .b = x.context,
                                 .b_stride = x.context_stride,
                                 .keys = x.values,
                                 .out = g.dweights});
  launch(dweights_to_dscores, {.grid = blocks(ceil_div(x.rows, kStripWarps)), .block = kStripBlock}, pairs,
         x.weights, g.from_weights, g.dweights);
  const float* dscores = g.dweights;

  launch_source_sums<false>(g.sources, {.pairs = pairs,
                                        .width = x.value_width,
                                        .factors = x.weights,
                                        .x = g.dcontext,
                                        .x_stride = g.dcontext_stride,
                                        .out = g.dvalues});
  const SourceSums dkeys = {.pairs = pairs,
                            .width = x.key_width,
                            .factors = dscores,
                            .x = x.query,
                            .x_stride = x.query_stride,
                            .keys = x.keys,
                            .energy = x.energy,
                            .out = g.dkeys};
  if (!x.energy) {
    launch_source_sums<false>(g.sources, dkeys);
    return launch_weighted_sums<false>({.pairs = pairs,
                                        .width = x.key_width,
                                        .factors = dscores,
                                        .values = x.keys,
                                        .out = g.dquery,
                                        .out_stride = g.dquery_stride});
  }
  if (!x.own_keys) launch_source_sums<true>(g.sources, dkeys);
  const Scratch denergy(static_cast<size_t>(x.rows * x.key_width) * sizeof(float));
  launch_mlp_query_gradient({.pairs = pairs,
                             .width = x.key_width,
                             .dscores = dscores,
                             .query = x.query,
                             .query_stride = x.query_stride,
                             .keys = x.keys,
                             .energy = x.energy,
                             .dquery = g.dquery,
                             .dquery_stride = g.dquery_stride,
                             .denergy = denergy.as<float>(),
                             .own_dkeys = x.own_keys ? g.dkeys : nullptr});
  // Adding rows to rows by index, in the order of the rows, is what the embedding's gradient does.
  embedding_backward({x.rows, x.key_width, x.example, g.denergy, denergy.as<float>(), x.key_width});
}

}  // namespace s2s::cuda

// What attention computes of queries and the rows of their sources, forward and backward. Neighbouring
// queries of one source, such as the beams of a sentence, are a run of up to 8, which shares what it reads; a
// query's sums have the same order in any run.
#pragma once

#include "cuda/detail/reduce.h"
#include "cuda/detail/strip.h"
#include "math/attention.h"
#include "math/softmax.h"

namespace s2s::cuda {

// Queries, and the rows of their sources (ops/attention.h).
struct Pairs {
  int64_t rows, longest;
  const int32_t *offsets, *example;
};

struct Source {
  int64_t begin;
  int length;
};
__device__ __forceinline__ Source source_of(const Pairs& x, int64_t source) {
  const int32_t begin = x.offsets[source];
  return {begin, x.offsets[source + 1] - begin};
}

// How many queries belong to the run that begins with `row`; 0: it belongs to another's. Every lane looks at
// one.
template <int MOST>
__device__ __forceinline__ int run_from(const Pairs& x, int64_t row) {
  static_assert(MOST < kWarp);
  const int lane = threadIdx.x % kWarp, left = MOST - static_cast<int>(row % MOST);
  const int64_t other = lane < left ? row + lane : row - 1;
  const bool compared = lane < left || left < MOST;  // a run may begin at a multiple of MOST in any case
  const bool same = compared && other < x.rows && x.example[other] == x.example[row];
  const unsigned lanes = __ballot_sync(kAllLanes, same);
  return lanes >> (kWarp - 1) ? 0 : __ffs(~lanes) - 1;
}

// What pair_sums adds up over the width for a query, with rows a and b, and a row k of its source.
struct DotTerm {  // a . k
  static constexpr int kKeys = 4, kQueries = 8;
  static constexpr bool kReadsB = false, kOwnKeys = false;
  __device__ static float add(float a, float, float k, float sum) { return math::fma(a, k, sum); }
};
struct MlpTerm {  // b . tanh(a + k): so much work that there is little to be shared
  static constexpr int kKeys = 1, kQueries = 1;
  static constexpr bool kReadsB = true, kOwnKeys = true;
  __device__ static float add(float a, float b, float k, float sum) { return math::mlp_score(b, a, k, sum); }
};
struct DweightTerm {  // a . (k - b)
  static constexpr int kKeys = 4, kQueries = 8;
  static constexpr bool kReadsB = true, kOwnKeys = false;
  __device__ static float add(float a, float b, float k, float sum) { return math::dweight(a, k, b, sum); }
};

struct PairSums {
  Pairs pairs;
  int64_t width;
  const float* a;  // [rows, width]
  int64_t a_stride;
  const float* b = nullptr;  // likewise; a stride of 0: one row for all
  int64_t b_stride = 0;
  const float* keys;     // [sum S, width], or with own_keys [rows, longest, width]
  float* out = nullptr;  // [rows, longest]
  bool own_keys = false;
  bool aligned = false;
};

// By a warp: out[q][s] for the run of queries that begins with `row` and the kKeys rows of their source from
// `first` on.
template <class Term>
__device__ __forceinline__ void pair_sums_from(const PairSums& x, int64_t row, int queries,
                                               const Source& source, int first, float* out,
                                               int64_t out_stride) {
  constexpr int K = Term::kKeys, Q = Term::kQueries;
  const int lane = threadIdx.x % kWarp;
  static_assert(Q == 1 || !Term::kOwnKeys);
  const int64_t first_key = Term::kOwnKeys && x.own_keys ? row * x.pairs.longest : source.begin;
  const float* keys[K];  // past the last one: the last one again
#pragma unroll
  for (int k = 0; k < K; ++k) keys[k] = x.keys + (first_key + min(first + k, source.length - 1)) * x.width;
  float sums[Q * K] = {};
  for (int64_t c = kQuad * lane; c < x.width; c += kStripColumns) {
    const int64_t left = x.width - c;
    float4 key[K];
#pragma unroll
    for (int k = 0; k < K; ++k) key[k] = load_quad(keys[k] + c, left, x.aligned);
    float4 a[Q], b[Term::kReadsB ? Q : 1] = {};  // all on their way before the first is used
#pragma unroll
    for (int q = 0; q < Q; ++q) {
      const int64_t at = row + min(q, queries - 1);
      a[q] = load_quad(x.a + at * x.a_stride + c, left, x.aligned);
      if constexpr (Term::kReadsB) b[q] = load_quad(x.b + at * x.b_stride + c, left, x.aligned);
    }
#pragma unroll
    for (int q = 0; q < Q; ++q) {
      if (q >= queries) break;
#pragma unroll
      for (int k = 0; k < K; ++k) {
        float& sum = sums[q * K + k];
        each([&](float& av, float& bv, float& kv) { sum = Term::add(av, bv, kv, sum); }, a[q],
             b[Term::kReadsB ? q : 0], key[k]);
      }
    }
  }
  const float sum = warp_sums(sums);
  constexpr int kLanesOfSum = kWarp / (Q * K);
  const int q = lane / kLanesOfSum / K, s = first + lane / kLanesOfSum % K;
  if (lane % kLanesOfSum == 0 && q < queries && s < source.length) out[q * out_stride + s] = sum;
}

// A warp has kKeys rows of a source and the queries of a run; the grid is the queries by chunks of the
// source.
template <class Term>
__global__ void __launch_bounds__(kStripBlock) pair_sums(PairSums x) {
  simt::wait_for_earlier();
  const int64_t row = blockIdx.x;
  const int queries = run_from<Term::kQueries>(x.pairs, row);
  if (queries == 0) return;
  const Source source = source_of(x.pairs, x.pairs.example[row]);
  const int first = (blockIdx.y * kStripWarps + strip_warp()) * Term::kKeys;
  if (first >= source.length) return;
  pair_sums_from<Term>(x, row, queries, source, first, x.out + row * x.pairs.longest, x.pairs.longest);
}

inline bool quads_of(const PairSums& x) {
  return aligned(x.a, x.a_stride) && aligned(x.keys, x.width) && (!x.b || aligned(x.b, x.b_stride));
}

template <class Term>
void launch_pair_sums(PairSums x) {
  x.aligned = quads_of(x);
  const dim3 grid(blocks(x.pairs.rows), blocks(ceil_div(x.pairs.longest, kStripWarps * Term::kKeys)));
  launch(pair_sums<Term>, {.grid = grid, .block = kStripBlock, .overlaps = true}, x);
}

struct WeightedSums {
  Pairs pairs;
  int64_t width;
  const float* factors = nullptr;  // [rows, longest]
  const float* values;             // [sum S, width]
  float* out;                      // [rows, width]
  int64_t out_stride;
  float* weights = nullptr;  // [rows, longest] out, zero past the source's length, where SOFTMAX
  bool aligned = false;
};

inline bool quads_of(const WeightedSums& x) {
  return aligned(x.values, x.width) && aligned(x.out, x.out_stride);
}

// By a block: a strip of the sums of a run of queries that begins with `row`; the first of their factors lie
// `stride` apart. A warp makes the weights of one query, then it takes every eighth of the values.
template <bool SOFTMAX>
__device__ __forceinline__ void weighted_sums_of(const WeightedSums& x, int64_t row, int queries,
                                                 const Source& source, const float* run_factors,
                                                 int64_t stride) {
  constexpr int kQueries = kStripWarps, kTile = 128;
  const int lane = threadIdx.x % kWarp, warp = strip_warp();
  const bool has_query = warp < queries;
  const float* factors = run_factors + warp * stride;
  float* weights = SOFTMAX && blockIdx.y == 0 ? x.weights + (row + warp) * x.pairs.longest : nullptr;

  float top = -INFINITY, inverse = 0.0f;
  if (SOFTMAX && has_query) {
    for (int s = lane; s < source.length; s += kWarp) top = fmaxf(top, factors[s]);
    top = group_max<kWarp>(top);
    float total = 0.0f;
    for (int s = lane; s < source.length; s += kWarp) total += math::exp(factors[s] - top);
    inverse = 1.0f / group_sum<kWarp>(total);
  }

  S2S_SHARED(float[kQueries][kTile], tile);
  const int64_t c = strip_column(), left = x.width - c;
  const float* values = x.values + source.begin * x.width + c;
  float4 sums[kQueries] = {};
  for (int first = 0; first < source.length; first += kTile) {
    const int count = min(kTile, source.length - first);
    if (has_query) {
      for (int i = lane; i < count; i += kWarp) {
        float w = factors[first + i];
        if (SOFTMAX) w = math::softmax(w, top, inverse);
        if (weights) weights[first + i] = w;
        tile[warp][i] = w;
      }
    }
    __syncthreads();
#pragma unroll 4
    for (int i = warp; i < count; i += kStripWarps) {
      float4 value = load_quad(values + (first + i) * x.width, left, x.aligned);
#pragma unroll
      for (int q = 0; q < kQueries; ++q) {
        if (q >= queries) break;
        const float w = tile[q][i];
        each([&](float& sum, float& v) { sum = math::fma(w, v, sum); }, sums[q], value);
      }
    }
    __syncthreads();
  }
  const float4 sum = together(sums);
  if (!has_query) return;
  store_quad(x.out + (row + warp) * x.out_stride + c, sum, left, x.aligned);
  if (weights) {
    for (int64_t s = source.length + lane; s < x.pairs.longest; s += kWarp) weights[s] = 0.0f;
  }
}

// out = sum over the source of weights_s values_s, where the weights are the factors or, SOFTMAX, their
// softmax. A block has a run of queries and a strip of the values.
template <bool SOFTMAX>
__global__ void __launch_bounds__(kStripBlock) weighted_sums(WeightedSums x) {
  simt::wait_for_earlier();
  const int64_t row = blockIdx.x;
  const int queries = run_from<kStripWarps>(x.pairs, row);
  if (queries == 0) return;
  weighted_sums_of<SOFTMAX>(x, row, queries, source_of(x.pairs, x.pairs.example[row]),
                            x.factors + row * x.pairs.longest, x.pairs.longest);
}

// Both at once, for few queries with short sources: every block of a run makes all its scores.
constexpr int kNearScores = 256;  // of a query, in shared memory

template <class Term>
__global__ void __launch_bounds__(kStripBlock, 1) scores_and_sums(PairSums score, WeightedSums sum) {
  simt::wait_for_earlier();
  S2S_SHARED(float[kStripWarps][kNearScores], scores);
  const int64_t row = blockIdx.x;
  const int queries = run_from<kStripWarps>(sum.pairs, row);
  if (queries == 0) return;
  const Source source = source_of(sum.pairs, sum.pairs.example[row]);
  for (int q = 0; q < queries; q += Term::kQueries) {
#pragma unroll 1
    for (int first = strip_warp() * Term::kKeys; first < source.length; first += kStripWarps * Term::kKeys)
      pair_sums_from<Term>(score, row + q, min(queries - q, Term::kQueries), source, first, scores[q],
                           kNearScores);
  }
  __syncthreads();
  weighted_sums_of<true>(sum, row, queries, source, scores[0], kNearScores);
}

template <bool SOFTMAX>
void launch_weighted_sums(WeightedSums x) {
  x.aligned = quads_of(x);
  launch(weighted_sums<SOFTMAX>,
         {.grid = strips(x.pairs.rows, x.width), .block = kStripBlock, .overlaps = true}, x);
}

// Whether making the scores for each strip costs less than a launch.
inline bool takes_both(const WeightedSums& x) {
  return x.pairs.longest <= kNearScores &&
         x.pairs.rows * ceil_div(x.width, kStripColumns) <= 2 * int64_t{multiprocessors()};
}

template <class Term>
void launch_scores_and_sums(PairSums score, WeightedSums sum) {
  score.aligned = quads_of(score), sum.aligned = quads_of(sum);
  launch(scores_and_sums<Term>,
         {.grid = strips(sum.pairs.rows, sum.width), .block = kStripBlock, .overlaps = true}, score, sum);
}

}  // namespace s2s::cuda

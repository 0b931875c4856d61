// One query row at a time: its scores, their softmax and the weighted sum read the source's keys and values
// from the cache. Forward splits rows over threads; backward gives each source to one thread, so that sums
// have one order.
#include "ops/attention.h"

#include "core/threads.h"
#include "cpu/detail/reduce.h"
#include "cpu/table.h"
#include "math/attention.h"

namespace s2s::S2S_ISA {
namespace {

constexpr int64_t kSerialWork = 1 << 15;  // elements of keys read below which one thread does all

int parts_for(const AttentionArgs& x) {
  return x.rows * x.weights_stride * x.key_width < kSerialWork ? 1 : 64;
}

int64_t first_key(const AttentionArgs& x, int64_t row, int64_t begin) {
  return x.own_keys ? row * x.weights_stride : begin;
}

float mlp_score(const AttentionArgs& x, const float* query, const float* key) {
  Vec sum = splat(0.0f);
  for (int64_t a = 0; a < x.key_width; a += kLanes) {
    const int lanes = lanes_left(x.key_width, a);
    sum = math::mlp_score(load(x.energy + a, lanes), load(query + a, lanes), load(key + a, lanes), sum);
  }
  return sum_lanes(sum);
}

// The weighted sum of VECS vectors of every value; `lanes` of the last one.
template <int VECS>
S2S_INLINE void weigh(const float* weights, int64_t length, const float* values, int64_t stride, int lanes,
                      float* out) {
  Vec sum[VECS] = {};  // side by side, so that one does not wait for the other
  for (int64_t s = 0; s < length; ++s) {
    const Vec w = splat(weights[s]);
    for (int v = 0; v < VECS; ++v) {
      const float* value = values + s * stride + v * kLanes;
      sum[v] = fma(w, v + 1 < VECS ? load(value) : load(value, lanes), sum[v]);
    }
  }
  for (int v = 0; v < VECS; ++v) store(out + v * kLanes, sum[v], v + 1 < VECS ? kLanes : lanes);
}

void attend(const AttentionArgs& x, int64_t row) {
  const int64_t begin = x.offsets[x.example[row]], length = x.offsets[x.example[row] + 1] - begin;
  const float* query = x.query + row * x.query_stride;
  const float* keys = x.keys + first_key(x, row, begin) * x.key_width;
  float* weights = x.weights + row * x.weights_stride;
  for (int64_t s = 0; s < length; ++s) {
    const float* key = keys + s * x.key_width;
    weights[s] = x.energy ? mlp_score(x, query, key) : dot(query, key, x.key_width);
  }
  softmax_row(weights, weights, length, false);
  for (int64_t s = length; s < x.weights_stride; ++s) weights[s] = 0.0f;

  const float* values = x.values + begin * x.value_width;
  float* context = x.context + row * x.context_stride;
  int64_t m = 0;
  for (; m + 8 * kLanes <= x.value_width; m += 8 * kLanes) {
    weigh<8>(weights, length, values + m, x.value_width, kLanes, context + m);
  }
  for (; m < x.value_width; m += kLanes) {
    weigh<1>(weights, length, values + m, x.value_width, lanes_left(x.value_width, m), context + m);
  }
}

float dweight(const float* dcontext, const float* value, const float* context, int64_t width) {
  Vec sum[2] = {};
  for (int64_t i = 0; i < width; i += 2 * kLanes) {
    for (int v = 0; v < 2 && i + v * kLanes < width; ++v) {
      const int64_t at = i + v * kLanes;
      const int lanes = lanes_left(width, at);
      sum[v] = math::dweight(load(dcontext + at, lanes), load(value + at, lanes), load(context + at, lanes),
                             sum[v]);
    }
  }
  return sum_lanes(sum[0] + sum[1]);
}

// y += scale * x
void add_scaled(float scale, const float* x, float* y, int64_t width) {
  const Vec factor = splat(scale);
  for (int64_t i = 0; i < width; i += kLanes) {
    const int lanes = lanes_left(width, i);
    store(y + i, fma(factor, load(x + i, lanes), load(y + i, lanes)), lanes);
  }
}

void mlp_gradient(const AttentionArgs& x, float dscore, const float* query, const float* key, float* dquery,
                  float* dkey, float* denergy) {
  for (int64_t a = 0; a < x.key_width; a += kLanes) {
    const int lanes = lanes_left(x.key_width, a);
    Vec to_query = load(dquery + a, lanes), to_key = load(dkey + a, lanes),
        to_energy = load(denergy + a, lanes);
    math::mlp_gradient(splat(dscore), load(x.energy + a, lanes), load(query + a, lanes), load(key + a, lanes),
                       to_query, to_key, to_energy);
    store(dquery + a, to_query, lanes);
    store(dkey + a, to_key, lanes);
    store(denergy + a, to_energy, lanes);
  }
}

void attend_backward(const AttentionBackwardArgs& g, int64_t row) {
  const AttentionArgs& x = g.forward;
  const int64_t source = x.example[row], begin = x.offsets[source], length = x.offsets[source + 1] - begin;
  const float* query = x.query + row * x.query_stride;
  const float* dcontext = g.dcontext + row * g.dcontext_stride;
  const float* weights = x.weights + row * x.weights_stride;
  const float* context = x.context + row * x.context_stride;
  float* dweights = g.dweights + row * x.weights_stride;
  float* dquery = g.dquery + row * g.dquery_stride;
  for (int64_t a = 0; a < x.key_width; ++a) dquery[a] = 0.0f;

  double mean = 0.0, total = 0.0;
  for (int64_t s = 0; s < length; ++s) {
    dweights[s] = dweight(dcontext, x.values + (begin + s) * x.value_width, context, x.value_width);
    if (g.from_weights) dweights[s] += g.from_weights[row * x.weights_stride + s];
    mean += double{weights[s]} * dweights[s];
    total += double{weights[s]};
  }
  mean /= total;
  for (int64_t s = 0; s < length; ++s) {
    const int64_t at = (first_key(x, row, begin) + s) * x.key_width;
    const float* key = x.keys + at;
    const float dscore = math::dscore(weights[s], dweights[s], mean);
    add_scaled(weights[s], dcontext, g.dvalues + (begin + s) * x.value_width, x.value_width);
    float* dkey = g.dkeys + at;
    if (x.energy) {
      mlp_gradient(x, dscore, query, key, dquery, dkey, g.denergy + source * x.key_width);
    } else {
      add_scaled(dscore, key, dquery, x.key_width);
      add_scaled(dscore, query, dkey, x.key_width);
    }
  }
}

}  // namespace

void attention(const AttentionArgs& x) {
  parallel(parts_for(x), [&](int part, int parts) {
    const Range range = share_of(x.rows, part, parts);
    for (int64_t row = range.begin; row < range.end; ++row) attend(x, row);
  });
}

void attention_backward(const AttentionBackwardArgs& g) {
  parallel(parts_for(g.forward), [&](int part, int parts) {
    for (int64_t row = 0; row < g.forward.rows; ++row) {
      if (g.forward.example[row] % parts == part) attend_backward(g, row);
    }
  });
}

}  // namespace s2s::S2S_ISA

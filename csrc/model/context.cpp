#include "model/context.h"

#include "ops/embedding.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/rows.h"
#include "ops/unfold.h"

namespace s2s::model {

void Context::declare(Parameters& all, const Config& c) {
  if (!c.attends() || c.score == ScoreKind::dot) return;
  const bool mlp = c.score == ScoreKind::mlp;
  Linear::declare(all, "attention.key", c.key_width(), c.memory_width(), mlp);
  if (!mlp) return;
  Linear::declare(all, "attention.query", c.key_width(), c.decoder_hidden, false);
  all.add("attention.energy.weight", {c.key_width()}, true);
  if (c.coverage) Linear::declare(all, "attention.coverage", c.key_width(), 1, false);
  if (c.location_filters == 0) return;
  Linear::declare(all, "attention.filter", c.location_filters, c.location_width, false);
  Linear::declare(all, "attention.location", c.key_width(), c.location_filters, false);
}

Context::Context(const Parameters& all, const Config& config) : config_(config) {
  if (!config.attends() || config.score == ScoreKind::dot) return;
  key_ = Linear(all, "attention.key");
  if (config.score != ScoreKind::mlp) return;
  query_ = Linear(all, "attention.query");
  energy_ = parameter(all, "attention.energy.weight");
  if (config.coverage) coverage_ = Linear(all, "attention.coverage");
  if (config.location_filters == 0) return;
  filter_ = Linear(all, "attention.filter");
  location_ = Linear(all, "attention.location");
}

Context::Packed Context::pack(ComputeType type) const {
  Packed packed;
  if (!config_.attends() || config_.score == ScoreKind::dot) return packed;
  packed.key = key_.pack(type);
  if (config_.score == ScoreKind::mlp) packed.query = query_.pack(type);
  if (config_.coverage) packed.tracking.coverage = coverage_.pack();
  if (config_.location_filters > 0) {
    packed.tracking.filter = filter_.pack();
    packed.tracking.location = location_.pack();
  }
  return packed;
}

Context::Prepared Context::prepare(const Packed& packed, const Memory& memory) const {
  Prepared prepared;
  if (config_.attends()) {
    ops::Attention& a = prepared.attention;
    a.values = memory.states;
    a.offsets = memory.offsets.to(current_device());
    a.longest = memory.longest;
    a.keys = memory.states;
    if (config_.score != ScoreKind::dot) {
      a.keys = Tensor::empty({memory.states.dim(0), config_.key_width()});
      key_.forward(packed.key, memory.states, a.keys, Activation::none, config_.encoder_stack().bounded());
    }
    if (config_.score == ScoreKind::mlp) {
      a.energy = energy_.value;
      prepared.query = packed.query;
      prepared.tracking = packed.tracking;
    }
  } else if (config_.context == ContextKind::last) {
    prepared.fixed = memory.last.back().h;
  } else {
    prepared.fixed = Tensor::empty({memory.sequences(), config_.memory_width()});
    ops::segment_mean(memory.states, memory.offsets, prepared.fixed);
  }
  return prepared;
}

void Context::fill_places(const Memory& memory, const Tensor& example, const Tensor& places) {
  const int32_t* offsets = memory.offsets.i32();
  int32_t* place = places.i32();
  for (int64_t r = 0; r < places.dim(0); ++r) {
    const int32_t source = example.i32()[r], begin = offsets[source], end = offsets[source + 1];
    for (int32_t s = 0; s < places.dim(1); ++s) *place++ = begin + s < end ? begin + s : begin;
  }
}

Context::Located Context::locate(const Tracking& tracking, const Tensor& sum) const {
  const Located located{Tensor::empty({sum.size(), config_.location_width}),
                        Tensor::empty({sum.size(), config_.location_filters})};
  ops::unfold(sum, located.windows);
  ops::matmul(located.windows, tracking.filter, located.features);
  return located;
}

// The attention with each row's keys: those of its source, and what their coverage adds.
ops::Attention Context::with_coverage(const Prepared& prepared, const Covered& covered) const {
  ops::Attention own = prepared.attention;
  const int64_t places = covered.sum.size();
  own.keys = Tensor::empty({places, config_.key_width()});
  own.own_keys = true;
  ops::gather_rows(prepared.attention.keys, covered.places.reshape({places}), own.keys);
  if (config_.coverage) {
    ops::matmul(covered.sum.reshape({places, 1}), prepared.tracking.coverage, own.keys, {.accumulate = true});
  }
  if (config_.location_filters > 0) {
    ops::matmul(locate(prepared.tracking, covered.sum).features, prepared.tracking.location, own.keys,
                {.accumulate = true});
  }
  return own;
}

void Context::forward(const Prepared& prepared, const Tensor& h, const Tensor& example,
                      const Covered& covered, const Tensor& context, const Tensor& weights,
                      const Tensor& query) const {
  if (!config_.attends()) return ops::gather_rows(prepared.fixed, example, context);
  if (config_.score == ScoreKind::mlp)
    query_.forward(prepared.query, h, query, Activation::none, config_.decoder_stack().bounded());
  ops::attention(config_.tracks_attention() ? with_coverage(prepared, covered) : prepared.attention,
                 config_.score == ScoreKind::mlp ? query : h, example, context, weights);
}

Context::Gradient Context::start_backward(const Memory& memory, const Prepared& prepared) const {
  Gradient g;
  if (config_.attends()) {
    g.dkeys = Tensor::zeros(prepared.attention.keys.shape());
    g.dvalues = Tensor::zeros(memory.states.shape());
    if (config_.score == ScoreKind::mlp) {
      g.denergy = Tensor::zeros({memory.sequences(), config_.key_width()});
      g.query = query_.pack_backward();
      if (config_.coverage) g.tracking.coverage = coverage_.pack_backward();
      if (config_.location_filters > 0) {
        g.tracking.filter = filter_.pack_backward();
        g.tracking.location = location_.pack_backward();
      }
    }
  } else {
    g.dfixed = Tensor::zeros(prepared.fixed.shape());
  }
  return g;
}

void Context::coverage_backward(const Prepared& prepared, const Gradient& g, const Covered& covered,
                                const Tensor& dkeys, const Tensor& dcoverage) const {
  if (config_.location_filters > 0) {
    const Located located = locate(prepared.tracking, covered.sum);
    location_.add_gradients(located.features, dkeys);
    ops::matmul(dkeys, g.tracking.location, located.features);
    filter_.add_gradients(located.windows, located.features);
    ops::matmul(located.features, g.tracking.filter, located.windows);
    ops::unfold_backward(located.windows, dcoverage);
  }
  if (config_.coverage) {
    const Tensor sum = covered.sum.reshape({covered.sum.size(), 1});
    coverage_.add_gradients(sum, dkeys);
    ops::matmul(dkeys, g.tracking.coverage, dcoverage.reshape(sum.shape()),
                {.accumulate = config_.location_filters > 0});
  }
}

void Context::backward(const Prepared& prepared, const Gradient& g, const Tensor& h, const Tensor& example,
                       const Covered& covered, const Tensor& context, const Tensor& weights,
                       const Tensor& query, const Tensor& dcontext, const Tensor& from_weights,
                       const Tensor& dcoverage, const Tensor& dquery, const Tensor& dh) const {
  // Adding rows to rows by index, in the order of the rows, is what the embedding's gradient does.
  if (!config_.attends()) return ops::embedding_backward(example, dcontext, g.dfixed);
  const bool mlp = config_.score == ScoreKind::mlp;
  if (config_.tracks_attention()) {
    const ops::Attention own = with_coverage(prepared, covered);
    const Tensor dkeys = Tensor::zeros(own.keys.shape());
    ops::attention_backward(own, query, example, context, weights, dcontext, from_weights, dquery, dkeys,
                            g.dvalues, g.denergy);
    coverage_backward(prepared, g, covered, dkeys, dcoverage);
    ops::embedding_backward(covered.places.reshape({covered.places.size()}), dkeys, g.dkeys);
  } else {
    ops::attention_backward(prepared.attention, mlp ? query : h, example, context, weights, dcontext,
                            from_weights, dquery, g.dkeys, g.dvalues, g.denergy);
  }
  if (mlp) {
    ops::matmul(dquery, g.query, dh, {.accumulate = true});
  } else {
    ops::add(dquery, dh);
  }
}

void Context::finish_backward(const Memory& memory, const Gradient& g, const Tensor& h, const Tensor& dquery,
                              const Memory& dmemory) const {
  if (config_.attends()) {
    ops::add(g.dvalues, dmemory.states);
    if (config_.score == ScoreKind::dot) return ops::add(g.dkeys, dmemory.states);
    // Query, key and bias are summed before the tanh: the bias' gradient is the sum of dkeys' rows, and of
    // dquery's, which are smaller.
    key_.add_gradients(memory.states, g.dkeys, dquery);
    ops::matmul(g.dkeys, key_.pack_backward(), dmemory.states, {.accumulate = true});
    if (config_.score == ScoreKind::mlp) {
      query_.add_gradients(h, dquery);
      ops::column_sum(g.denergy, energy_.gradient);
    }
  } else if (config_.context == ContextKind::last) {
    ops::add(g.dfixed, dmemory.last.back().h);
  } else {
    ops::segment_mean_backward(g.dfixed, memory.offsets, dmemory.states);
  }
}

}  // namespace s2s::model

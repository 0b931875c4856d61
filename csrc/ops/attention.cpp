#include "ops/check.h"
#include "ops/kernels.h"

namespace s2s::ops {
namespace {

// The indices where the other arrays are.
struct Placed {
  Device device;
  Tensor offsets, example;
};

AttentionArgs checked(const char* op, const Attention& m, const Tensor& query, const Tensor& example,
                      const Tensor& context, const Tensor& weights, Placed& placed) {
  expect_matrix(op, "query", query);
  expect_matrix(op, "keys", m.keys);
  expect_matrix(op, "values", m.values);
  expect_dtype(op, "offsets", m.offsets, DType::i32);
  const int64_t rows = query.dim(0), sources = m.offsets.size() - 1, total = m.values.dim(0);
  check(op, query.dim(1) == m.keys.dim(1), "Expected query of width ", m.keys.dim(1), " like the keys, got ",
        query.dim(1), ".");
  if (m.own_keys) {
    check(op, m.energy.defined(), "Expected energy: only mlp attention has keys for each query.");
    expect(op, "keys", m.keys, {rows * m.longest, query.dim(1)});
  } else {
    check(op, m.keys.dim(0) == total, "Expected values of ", m.keys.dim(0), " rows like the keys, got ",
          total, ".");
  }
  check(op, !m.offsets.device().is_cpu() || (sources >= 0 && m.offsets.i32()[sources] == total),
        "Expected lengths that sum to the ", total, " rows of keys.");
  if (m.energy.defined()) expect(op, "energy", m.energy, {m.keys.dim(1)});
  expect(op, "example", example, {rows}, DType::i32);
  expect(op, "context", context, {rows, m.values.dim(1)});
  expect(op, "weights", weights, {rows, m.longest});
  for (const Tensor* t : {&m.keys, &m.values, &weights})
    expect_contiguous(op, "keys, values and weights", *t);
  placed.device = common_device(op, {&query, &m.keys, &m.values, &m.energy, &context, &weights});
  placed.offsets = m.offsets.to(placed.device);
  placed.example = example.to(placed.device);
  return {rows,
          m.keys.dim(1),
          m.values.dim(1),
          m.longest,
          query.f32(),
          query.row_stride(),
          m.keys.f32(),
          m.values.f32(),
          placed.offsets.i32(),
          placed.example.i32(),
          m.energy.defined() ? m.energy.f32() : nullptr,
          context.f32(),
          context.row_stride(),
          weights.f32(),
          m.own_keys};
}

}  // namespace

Attention with_lengths(const char* op, Attention memory, const Tensor& lengths) {
  expect_matrix(op, "keys", memory.keys);
  expect_dtype(op, "lengths", lengths, DType::i32);
  check(op, lengths.shape().rank() == 1 && lengths.size() > 0,
        "Expected lengths of at least one source, got shape ", lengths.shape(), ".");
  memory.offsets = Tensor::host({lengths.size() + 1}, DType::i32);
  int64_t total = 0;
  for (int64_t n = 0; n < lengths.size(); ++n) {
    const int32_t length = lengths.i32()[n];
    check(op, length >= 1, "Expected lengths of at least 1, got ", length, " at position ", n, ".");
    memory.offsets.i32()[n] = static_cast<int32_t>(total);
    total += length;
    if (length > memory.longest) memory.longest = length;
    check(op, total <= memory.keys.dim(0), "Expected lengths that sum to the ", memory.keys.dim(0),
          " rows of keys, got more.");
  }
  memory.offsets.i32()[lengths.size()] = static_cast<int32_t>(total);
  return memory;
}

void attention(const Attention& memory, const Tensor& query, const Tensor& example, const Tensor& context,
               const Tensor& weights) {
  Placed placed;
  const AttentionArgs args = checked("attention", memory, query, example, context, weights, placed);
  kernels(placed.device).attention(args);
}

void attention_backward(const Attention& memory, const Tensor& query, const Tensor& example,
                        const Tensor& context, const Tensor& weights, const Tensor& dcontext,
                        const Tensor& from_weights, const Tensor& dquery, const Tensor& dkeys,
                        const Tensor& dvalues, const Tensor& denergy) {
  const char* op = "attention_backward";
  Placed placed;
  const AttentionArgs forward = checked(op, memory, query, example, context, weights, placed);
  common_device(op, {&query, &dcontext, &from_weights, &dquery, &dkeys, &dvalues, &denergy});
  const int64_t sources = memory.offsets.size() - 1;
  expect(op, "dcontext", dcontext, context.shape());
  if (from_weights.defined()) {
    expect(op, "from_weights", from_weights, weights.shape());
    expect_contiguous(op, "from_weights", from_weights);
  }
  expect(op, "dquery", dquery, query.shape());
  expect(op, "dkeys", dkeys, memory.keys.shape());
  expect(op, "dvalues", dvalues, memory.values.shape());
  if (memory.energy.defined()) expect(op, "denergy", denergy, {sources, memory.keys.dim(1)});
  const Tensor dweights = Tensor::empty(weights.shape(), DType::f32, placed.device);
  kernels(placed.device)
      .attention_backward({forward, sources, dcontext.f32(), dcontext.row_stride(),
                           from_weights.defined() ? from_weights.f32() : nullptr, dquery.f32(),
                           dquery.row_stride(), dweights.f32(), dkeys.f32(), dvalues.f32(),
                           memory.energy.defined() ? denergy.f32() : nullptr});
}

}  // namespace s2s::ops

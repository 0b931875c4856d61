#include "model/encoder.h"

#include <algorithm>
#include <unordered_map>

#include "ops/activation.h"
#include "ops/check.h"
#include "ops/embedding.h"
#include "ops/reduce.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

const char* embedding_name(const Config& config) {
  return config.share_embeddings ? "decoder.embedding.weight" : "encoder.embedding.weight";
}

// ids[index], for ids of int32.
Tensor gather_ids(const Tensor& ids, const Tensor& index) {
  Tensor out = Tensor::host({index.size()}, DType::i32);
  for (int64_t r = 0; r < index.size(); ++r) out.i32()[r] = ids.i32()[index.i32()[r]];
  return out;
}

}  // namespace

void Encoder::declare(Parameters& all, const Config& config) {
  if (config.tokens_in() && !config.share_embeddings) {
    all.add(embedding_name(config), {config.source_vocab_size, config.source_embedding_dim}, true);
  }
  if (!config.recurs()) {
    return Linear::declare(all, "encoder.projection", config.memory_width(), config.encoder_input());
  }
  RecurrentStack::declare(all, config.encoder_stack(), "encoder.rnn.");
}

Encoder::Encoder(const Parameters& all, const Config& config)
    : config_(config), stack_(all, config.encoder_stack(), "encoder.rnn.") {
  if (config.tokens_in()) embedding_ = parameter(all, embedding_name(config));
  if (!config.recurs()) projection_ = Linear(all, "encoder.projection");
}

Encoder::Packed Encoder::pack(ComputeType type) const {
  Packed packed{stack_.pack(type), {}};
  if (!config_.recurs()) packed.projection = projection_.pack(type);
  return packed;
}

void Encoder::check_source(const Source& source) const {
  const char* op = "encode";
  ops::expect_dtype(op, "source_lengths", source.lengths, DType::i32);
  check(op, source.lengths.shape().rank() == 1, "Expected source_lengths of one dimension, got shape ",
        source.lengths.shape(), ".");
  check(op, source.lengths.size() > 0, "Expected source_lengths of at least one sequence, got none.");
  int64_t total = 0;
  for (int64_t n = 0; n < source.lengths.size(); ++n) {
    const int32_t length = source.lengths.i32()[n];
    check(op, length >= 1, "Expected source_lengths of at least 1, got ", length, " at position ", n, ".");
    total += length;
  }
  check(op, total <= INT32_MAX, "Expected source_lengths that sum to at most ", INT32_MAX, ", got ", total,
        ".");
  if (config_.tokens_in()) {
    ops::expect(op, "source", source.values, {total}, DType::i32);
    ops::expect_ids(op, "source", source.values, config_.source_vocab_size);
  } else {
    ops::expect(op, "source", source.values, {total, config_.source_features});
  }
}

Copies Encoder::copies_of(const Source& source) const {
  const char* op = "encode";
  Copies copies;
  if (!config_.copy_attention) {
    check(op, !source.copies.defined(), "Expected no copies: this model does not copy (copy_attention).");
    return copies;
  }
  check(op, source.copies.defined(),
        "Expected copies, the source's tokens as the output may copy them, got none.");
  ops::expect(op, "copies", source.copies, source.values.shape(), DType::i32);
  copies.first = Tensor::host(source.copies.shape(), DType::i32);
  const int32_t *id = source.copies.i32(), *lengths = source.lengths.i32();
  int32_t* first = copies.first.i32();
  std::unordered_map<int32_t, int32_t> seen;
  for (int64_t n = 0, at = 0; n < source.lengths.size(); ++n) {
    const int64_t limit = config_.target_vocab_size + lengths[n];
    seen.clear();
    for (int32_t s = 0; s < lengths[n]; ++s, ++at) {
      check(op, id[at] >= 0 && id[at] < limit, "Expected copies from 0 to ", limit - 1,
            ", the target vocabulary and one more for each token of the source, got ", id[at],
            " at position ", at, ".");
      first[at] = seen.try_emplace(id[at], s).first->second;
      copies.extra = std::max(copies.extra, id[at] + 1 - config_.target_vocab_size);
    }
  }
  copies.ids = source.copies.to(current_device());
  copies.first = copies.first.to(current_device());
  return copies;
}

Tensor Encoder::project(const ops::Packed& packed, const Tensor& x, const Dropout& dropout,
                        const RowNames& names, Saved* saved) const {
  const Tensor y = Tensor::empty({x.dim(0), config_.memory_width()});
  projection_.forward(packed, x, y, Activation::tanh, false);
  if (saved) {
    saved->x = x;
    saved->y = y;
  }
  const ops::Mask mask = dropout.mask(kDropEncoderLayer);
  if (mask.p == 0.0f) return y;
  const Tensor kept = Tensor::empty(y.shape());
  ops::dropout(y, kept, names.example, names.time, kDropEncoderLayer, mask);
  return kept;
}

// dy is used up.
void Encoder::project_backward(const Saved& saved, const Tensor& dy, const Tensor& dx,
                               const Dropout& dropout) const {
  dropout.apply(dy, saved.names, kDropEncoderLayer);
  ops::tanh_backward(saved.y, dy, dy);
  projection_.add_gradients(saved.x, dy);
  if (dx.defined()) ops::matmul(dy, projection_.pack_backward(), dx);
}

Memory Encoder::forward(const Packed& packed, const Source& source, const Dropout& dropout,
                        const int64_t* example_ids, Saved* saved) const {
  check_source(source);
  const int64_t N = source.lengths.size(), H = config_.encoder_hidden, M = config_.memory_width();
  const Ragged ragged(source.lengths.i32(), N);
  const Tensor from_flat = flat_rows(ragged);
  const Device device = current_device();
  const RowNames names = dropout.active() ? row_names(ragged, example_ids, dropout).to(device) : RowNames{};

  const Tensor x = Tensor::empty({ragged.rows(), config_.encoder_input()});
  Tensor ids;
  if (config_.tokens_in()) {
    ids = gather_ids(source.values, from_flat);
    if (dropout.word > 0.0f) drop_words(ragged, dropout, example_ids, ids);
    ops::embedding(ids, embedding_.value, x);
    dropout.apply(x, names, kDropSource);
  } else {
    ops::gather_rows(source.values.to(device), from_flat, x);
  }

  Tensor y;
  const StackConfig stack = stack_.config();
  RecurrentStack::States initial(static_cast<size_t>(stack.layers * stack.directions()),
                                 State::zeros(stack.cell, N)),
      last;
  if (config_.recurs()) {
    y = Tensor::empty({ragged.rows(), M});
    stack_.forward(packed.stack, ragged, x, initial, y, last, dropout, names, kDropEncoderLayer,
                   saved ? &saved->stack : nullptr);
  } else {
    y = project(packed.projection, x, dropout, names, saved);
  }

  Memory memory;
  memory.copies = copies_of(source);
  memory.offsets = flat_offsets(source.lengths.i32(), N);
  memory.longest = ragged.steps();
  memory.states = Tensor::empty({ragged.rows(), M});
  ops::gather_rows(y, ragged_rows(ragged), memory.states);
  const Tensor position = to_tensor(ragged.position).to(device);
  for (int64_t l = 0; l < stack.layers; ++l) {
    State joined{Tensor::empty({N, M}), stack.cell.kind == CellKind::lstm ? Tensor::empty({N, M}) : Tensor()};
    for (int64_t d = 0; d < stack.directions(); ++d) {
      const State& state = last[static_cast<size_t>(l * stack.directions() + d)];
      ops::gather_rows(state.h, position, joined.h.columns(d * H, H));
      if (joined.c.defined()) ops::gather_rows(state.c, position, joined.c.columns(d * H, H));
    }
    memory.last.push_back(joined);
  }
  if (!config_.recurs()) {
    memory.last.push_back({Tensor::empty({N, M}), Tensor()});
    ops::segment_mean(memory.states, memory.offsets, memory.last[0].h);
  }
  if (saved) {
    saved->ragged = ragged;
    saved->ids = ids;
    saved->flat_rows = from_flat;
    saved->names = names;
  }
  return memory;
}

void Encoder::drop_words(const Ragged& ragged, const Dropout& dropout, const int64_t* example_ids,
                         const Tensor& ids) const {
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    for (int64_t i = 0; i < ragged.batch_sizes[static_cast<size_t>(t)]; ++i) {
      const int32_t n = ragged.order[static_cast<size_t>(i)];
      if (drops_word(dropout, kDropSourceWord, example_ids ? example_ids[n] : n, t)) {
        ids.i32()[ragged.row(t, i)] = config_.source_unk_id;
      }
    }
  }
}

void Encoder::backward(Saved& saved, const Memory& gradient, const Dropout& dropout) const {
  const Ragged& ragged = saved.ragged;
  const int64_t N = ragged.sequences(), H = config_.encoder_hidden;
  const StackConfig stack = stack_.config();
  if (!config_.recurs()) ops::segment_mean_backward(gradient.last[0].h, gradient.offsets, gradient.states);
  const Tensor dy = Tensor::empty({ragged.rows(), config_.memory_width()});
  ops::gather_rows(gradient.states, saved.flat_rows, dy);

  const Tensor order = to_tensor(ragged.order).to(current_device());
  RecurrentStack::States dstates;
  for (int64_t l = 0; l < stack.layers; ++l) {
    const State& joined = gradient.last[static_cast<size_t>(l)];
    for (int64_t d = 0; d < stack.directions(); ++d) {
      State state = State::empty(stack.cell, N);
      ops::gather_rows(joined.h.columns(d * H, H), order, state.h);
      if (state.c.defined()) ops::gather_rows(joined.c.columns(d * H, H), order, state.c);
      dstates.push_back(state);
    }
  }
  const Tensor dx = config_.tokens_in() ? Tensor::empty({ragged.rows(), config_.encoder_input()}) : Tensor();
  if (config_.recurs()) {
    stack_.backward(ragged, saved.stack, dy, dstates, dx, dropout, saved.names, kDropEncoderLayer);
  } else {
    project_backward(saved, dy, dx, dropout);
  }
  if (config_.tokens_in()) {
    dropout.apply(dx, saved.names, kDropSource);
    ops::embedding_backward(saved.ids, dx, embedding_.gradient);
  }
}

}  // namespace s2s::model

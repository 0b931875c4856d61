#include "model/encoder.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

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
  ConvFront::declare(all, config);
  for (const Segment& segment : config.encoder_segments())
    RecurrentStack::declare(all, segment.stack, "encoder.rnn.");
  if (!config.recurs())
    Linear::declare(all, "encoder.projection", config.memory_width(), config.encoder_input());
}

Encoder::Encoder(const Parameters& all, const Config& config) : config_(config), conv_(all, config) {
  if (config.tokens_in()) embedding_ = parameter(all, embedding_name(config));
  for (const Segment& segment : config.encoder_segments()) {
    windows_.push_back(segment.window);
    stacks_.emplace_back(all, segment.stack, "encoder.rnn.");
  }
  if (!config.recurs()) projection_ = Linear(all, "encoder.projection");
}

Encoder::Packed Encoder::pack(ComputeType type) const {
  Packed packed;
  packed.conv = conv_.pack(type);
  for (const RecurrentStack& stack : stacks_) packed.stacks.push_back(stack.pack(type));
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
    saved->projected = names;
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
  dropout.apply(dy, saved.projected, kDropEncoderLayer);
  ops::tanh_backward(saved.y, dy, dy);
  projection_.add_gradients(saved.x, dy);
  if (dx.defined()) ops::matmul(dy, projection_.pack_backward(), dx);
}

// The last states of a segment's layers, in the caller's order, directions side by side.
void Encoder::add_last(const Level& level, const RecurrentStack& stack, const RecurrentStack::States& last,
                       Memory& memory) const {
  const int64_t N = level.ragged.sequences(), H = config_.encoder_hidden, M = config_.memory_width();
  const int64_t directions = stack.config().directions();
  const Tensor position = to_tensor(level.ragged.position).to(current_device());
  for (int64_t l = 0; l < stack.config().layers; ++l) {
    const bool lstm = stack.config().cell.kind == CellKind::lstm;
    State joined{Tensor::empty({N, M}), lstm ? Tensor::empty({N, M}) : Tensor()};
    for (int64_t d = 0; d < directions; ++d) {
      const State& state = last[static_cast<size_t>(l * directions + d)];
      ops::gather_rows(state.h, position, joined.h.columns(d * H, H));
      if (joined.c.defined()) ops::gather_rows(state.c, position, joined.c.columns(d * H, H));
    }
    memory.last.push_back(joined);
  }
}

Memory Encoder::forward(const Packed& packed, const Source& source, const Dropout& dropout,
                        const int64_t* example_ids, Saved* saved) const {
  check_source(source);
  const int64_t N = source.lengths.size();
  const Device device = current_device();
  const auto names_of = [&](const Ragged& of) {
    return dropout.active() ? row_names(of, example_ids, dropout).to(device) : RowNames{};
  };
  Level level;
  level.ragged = Ragged(source.lengths.i32(), N);
  level.names = names_of(level.ragged);
  const Tensor from_flat = flat_rows(level.ragged);
  Tensor ids;
  if (config_.tokens_in()) {
    ids = gather_ids(source.values, from_flat);
    if (dropout.word > 0.0f) drop_words(level.ragged, dropout, example_ids, ids);
    if (saved && recurs_over_tokens() && dropout.embedding == 0.0f) {
      if (const DistinctTokens tokens = distinct_tokens(ids, config_.source_vocab_size); tokens.defined()) {
        ids = tokens.ids;
        level.stack.rows = tokens.rows;
      }
    }
  }
  Tensor x = Tensor::empty({ids.defined() ? ids.size() : level.ragged.rows(), config_.source_width()});
  if (ids.defined()) {
    ops::embedding(ids, embedding_.value, x);
    dropout.apply(x, level.names, kDropSource);
  } else {
    ops::gather_rows(source.values.to(device), from_flat, x);
  }
  if (saved) {
    saved->names = level.names;
    saved->ids = ids;
  }
  if (config_.conv_layers > 0) {
    x = conv_.forward(packed.conv, x, level.ragged, saved ? &saved->conv : nullptr);
    level.names = names_of(level.ragged);
  }
  if (saved) saved->front = level.ragged;

  Memory memory;
  memory.copies = copies_of(source);
  for (size_t k = 0; k < stacks_.size(); ++k) {
    const StackConfig stack = stacks_[k].config();
    if (!windows_[k].trivial()) {
      const Ragged longer = std::move(level.ragged);
      level.ragged = shortened(longer, windows_[k].stride);
      level.names = names_of(level.ragged);
      x = windows(x, longer, level.ragged, windows_[k]);
    }
    const Tensor y = Tensor::empty({level.ragged.rows(), config_.memory_width()});
    const RecurrentStack::States initial(static_cast<size_t>(stack.layers * stack.directions()),
                                         saved ? State::zeros(stack.cell, N) : State{});
    RecurrentStack::States last;
    stacks_[k].forward(packed.stacks[k], level.ragged, x, initial, y, last, dropout, level.names,
                       kDropEncoderLayer, saved ? &level.stack : nullptr);
    add_last(level, stacks_[k], last, memory);
    if (k + 1 < stacks_.size())
      dropout.apply(y, level.names, kDropEncoderLayer + static_cast<int>(stack.first + stack.layers) - 1);
    x = y;
    if (saved) saved->levels.push_back({level.ragged, level.names, std::move(level.stack)});
    level.stack = {};
  }

  if (!config_.recurs()) x = project(packed.projection, x, dropout, level.names, saved);

  const std::vector<int32_t> lengths = lengths_of(level.ragged);
  memory.offsets = flat_offsets(lengths.data(), N);
  memory.longest = level.ragged.steps();
  if (N == 1) {
    memory.states = x;  // in the caller's order already
  } else {
    memory.states = Tensor::empty(x.shape());
    ops::gather_rows(x, ragged_rows(level.ragged), memory.states);
  }
  if (!config_.recurs()) {
    memory.last.push_back({Tensor::empty({N, config_.memory_width()}), Tensor()});
    ops::segment_mean(memory.states, memory.offsets, memory.last[0].h);
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

RecurrentStack::States Encoder::gradients_of_last(const Level& level, const RecurrentStack& stack,
                                                  const Memory& gradient) const {
  const int64_t N = level.ragged.sequences(), H = config_.encoder_hidden;
  const StackConfig config = stack.config();
  const Tensor order = to_tensor(level.ragged.order).to(current_device());
  RecurrentStack::States dstates;
  for (int64_t l = 0; l < config.layers; ++l) {
    const State& joined = gradient.last[static_cast<size_t>(config.first + l)];
    for (int64_t d = 0; d < config.directions(); ++d) {
      State state = State::empty(config.cell, N);
      ops::gather_rows(joined.h.columns(d * H, H), order, state.h);
      if (state.c.defined()) ops::gather_rows(joined.c.columns(d * H, H), order, state.c);
      dstates.push_back(state);
    }
  }
  return dstates;
}

void Encoder::backward(Saved& saved, const Memory& gradient, const Dropout& dropout) const {
  if (!config_.recurs()) ops::segment_mean_backward(gradient.last[0].h, gradient.offsets, gradient.states);
  Tensor dy = Tensor::empty(gradient.states.shape());
  ops::gather_rows(gradient.states, flat_rows(config_.recurs() ? saved.levels.back().ragged : saved.front),
                   dy);
  const bool below = config_.tokens_in() || config_.conv_layers > 0;
  if (!config_.recurs()) {
    const Tensor dx = below ? Tensor::empty({dy.dim(0), config_.encoder_input()}) : Tensor();
    project_backward(saved, dy, dx, dropout);
    if (!below) return;
    dy = dx;
  }
  for (size_t k = stacks_.size(); k-- > 0;) {
    Level& level = saved.levels[k];
    const StackConfig stack = stacks_[k].config();
    RecurrentStack::States dstates = gradients_of_last(level, stacks_[k], gradient);
    const bool want = k > 0 || below;
    const Tensor dx =
        want ? Tensor::empty({level.stack.rows.defined() ? level.stack.rows.count : level.ragged.rows(),
                              stack.cell.input})
             : Tensor();
    stacks_[k].backward(level.ragged, level.stack, dy, dstates, dx, dropout, level.names, kDropEncoderLayer);
    if (!want) return;
    const Ragged& longer = k > 0 ? saved.levels[k - 1].ragged : saved.front;
    dy = windows_[k].trivial() ? dx : windows_backward(dx, longer, level.ragged, windows_[k]);
    if (k > 0)
      dropout.apply(dy, saved.levels[k - 1].names, kDropEncoderLayer + static_cast<int>(stack.first) - 1);
  }
  if (config_.conv_layers > 0) dy = conv_.backward(saved.conv, saved.front, dy, config_.tokens_in());
  if (!config_.tokens_in()) return;
  dropout.apply(dy, saved.names, kDropSource);
  ops::embedding_backward(saved.ids, dy, embedding_.gradient);
}

}  // namespace s2s::model

#include "model/decoder.h"

#include <algorithm>
#include <optional>

#include "ops/activation.h"
#include "ops/check.h"
#include "ops/embedding.h"
#include "ops/norm.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

constexpr const char* kEmbedding = "decoder.embedding.weight";

const char* layers_name(const Config& config) {
  return config.share_recurrence ? "encoder.rnn." : "decoder.rnn.";
}

std::vector<State> slice_states(const std::vector<State>& states, int64_t begin, int64_t count) {
  std::vector<State> out;
  out.reserve(states.size());
  for (const State& state : states) out.push_back(state.rows(begin, count));
  return out;
}

// The steps that are computed together: all of them, or one at a time where a step needs the last one's
// output.
struct Block {
  Ragged ragged;
  int64_t begin, count;  // rows
  int64_t previous;      // first row of the step before; -1 for the first
};

std::vector<Block> blocks_of(const Ragged& ragged, bool stepwise) {
  std::vector<Block> blocks;
  if (!stepwise) {
    blocks.push_back({ragged, 0, ragged.rows(), -1});
    return blocks;
  }
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    const int64_t count = ragged.batch_sizes[static_cast<size_t>(t)];
    blocks.push_back({Ragged::single_step(count), ragged.row(t, 0), count, t ? ragged.row(t - 1, 0) : -1});
  }
  return blocks;
}

}  // namespace

void Decoder::declare(Parameters& all, const Config& config) {
  if (config.tokens_out()) {
    all.add(kEmbedding, {config.target_vocab_size, config.target_embedding_dim}, true);
  }
  if (!config.share_recurrence) RecurrentStack::declare(all, config.decoder_stack(), layers_name(config));
  Context::declare(all, config);
  Linear::declare(all, "decoder.combine", config.attentional_width(),
                  config.decoder_hidden + config.memory_width());
}

Decoder::Decoder(const Parameters& all, const Config& config)
    : config_(config),
      embedding_(config.tokens_out() ? parameter(all, kEmbedding) : Parameter{}),
      stack_(all, config.decoder_stack(), layers_name(config)),
      context_(all, config),
      combine_(all, "decoder.combine") {}

Decoder::Packed Decoder::pack(ComputeType type) const {
  Packed packed;
  const int64_t embedding = config_.decoder_input();
  packed.cells.push_back(cell(0).pack(0, embedding, type));
  for (size_t l = 1; l < layers(); ++l) packed.cells.push_back(cell(l).pack(type));
  if (config_.input_feeding) packed.feed = cell(0).pack_input(embedding, config_.feed_width(), type);
  packed.combine = combine_.pack(type);
  return packed;
}

Decoder::Packed Decoder::pack_for_inference(ComputeType type) const {
  constexpr int64_t kLargestTable = 1 << 24;  // floats
  Packed packed = pack(type);
  const CellConfig& first = cell(0).config();
  const int64_t width = first.gates() * first.hidden;
  if (config_.tokens_out() && config_.target_vocab_size * width <= kLargestTable) {
    packed.input_table = Tensor::empty({config_.target_vocab_size, width});
    const Cell::Packed exact = cell(0).pack(0, config_.target_embedding_dim);
    Cell::input_product(exact, embedding_.value, false, packed.input_table);
    packed.cells[0].input = {};
  }
  // Bytes quantise h and context by one scale.
  if (!config_.attends() && type != ComputeType::int8) {
    packed.combine = combine_.pack(0, config_.decoder_hidden, type);
    packed.combine_context = combine_.pack(config_.decoder_hidden, config_.memory_width(), type);
  }
  return packed;
}

void Decoder::split_input(Packed& packed, int64_t fed, ComputeType type) const {
  // Bytes quantise a whole row by one scale.
  if (config_.input_feeding || type == ComputeType::int8 || fed == config_.decoder_input()) return;
  packed.feed = cell(0).pack_input(0, fed, type);
  packed.known = cell(0).pack_input(fed, config_.decoder_input() - fed, type);
}

Tensor Decoder::known_product(const Packed& packed, const Tensor& columns) const {
  const CellConfig& first = cell(0).config();
  const Tensor product = Tensor::empty({columns.dim(0), first.gates() * first.hidden});
  ops::matmul(columns, packed.known, product, {.bias = packed.cells[0].input_bias});
  return product;
}

Decoder::Rows Decoder::Rows::slice(int64_t begin, int64_t count) const {
  Rows part;
  part.ids = ids.rows(begin, count);
  part.example = example.rows(begin, count);
  if (names.time.defined()) part.names = names.rows(begin, count);
  part.embedded = embedded.rows(begin, count);
  for (const Cell::Saved& c : cells) part.cells.push_back(c.rows(begin, count));
  for (const Tensor& input : inputs) part.inputs.push_back(input.rows(begin, count));
  for (const Tensor& output : outputs) part.outputs.push_back(output.rows(begin, count));
  for (const Tensor& sum : sums) part.sums.push_back(sum.rows(begin, count));
  part.hc = hc.rows(begin, count);
  part.weights = slice_if(weights, begin, count);
  part.covered = {slice_if(covered.sum, begin, count), slice_if(covered.places, begin, count)};
  part.query = slice_if(query, begin, count);
  part.combined = combined.rows(begin, count);
  part.attentional = attentional.rows(begin, count);
  return part;
}

void Decoder::Rows::set_rows(int64_t count) {
  for (Tensor* t : {&ids, &example, &names.example, &names.time, &embedded, &hc, &weights, &query, &combined,
                    &attentional, &covered.sum, &covered.places}) {
    if (t->defined()) t->set_rows(count);
  }
  for (Cell::Saved& c : cells) c.set_rows(count);
  for (Tensor& input : inputs) input.set_rows(count);
}

Decoder::Rows Decoder::make_rows(int64_t R, int64_t longest, const Dropout& dropout, bool keep) const {
  Rows rows;
  rows.ids = Tensor::host({R}, DType::i32);
  rows.example = Tensor::host({R}, DType::i32);
  rows.embedded = Tensor::empty({R, config_.decoder_input()});
  for (size_t l = 0; l < layers(); ++l) {
    rows.cells.push_back(cell(l).make_saved(R, keep));
    if (l > 0) rows.inputs.push_back(Tensor::empty({R, config_.decoder_hidden}));
    if (l > 0 && stack_.adds(static_cast<int64_t>(l)) && dropout.layers > 0.0f) {
      rows.outputs.push_back(Tensor::empty({R, config_.decoder_hidden}));
    }
    if (config_.layer_norm && keep) rows.sums.push_back(Tensor::empty({R, config_.decoder_hidden}));
  }
  rows.hc = Tensor::empty({R, config_.decoder_hidden + config_.memory_width()});
  if (config_.attends()) {
    rows.weights = Tensor::empty({R, longest});
    rows.query = Tensor::empty({R, config_.key_width()});
  }
  if (config_.tracks_attention())
    rows.covered = {Tensor::empty({R, longest}), Tensor::host({R, longest}, DType::i32)};
  rows.combined = Tensor::empty({R, config_.attentional_width()});
  rows.attentional = dropout.output > 0.0f ? Tensor::empty({R, config_.attentional_width()}) : rows.combined;
  return rows;
}

std::vector<State> Decoder::make_states(int64_t sequences) const {
  std::vector<State> states;
  for (size_t l = 0; l < layers(); ++l) states.push_back(State::empty(stack_.config().cell, sequences));
  return states;
}

Context::Prepared Decoder::prepare(const Context::Packed& context, const Packed& packed,
                                   const Memory& memory) const {
  Context::Prepared prepared = context_.prepare(context, memory);
  if (packed.combine_context.defined()) {
    prepared.combined = Tensor::empty({memory.sequences(), config_.attentional_width()});
    combine_.forward(packed.combine_context, prepared.fixed, prepared.combined, Activation::none, false);
  }
  return prepared;
}

void Decoder::forward_block(const Packed& packed, const Context::Prepared& prepared, const Ragged& ragged,
                            const Rows& rows, const Tensor& feed, const std::vector<State>& initial,
                            const std::vector<State>& last, const Dropout& dropout) const {
  const int64_t H = config_.decoder_hidden;
  const Tensor h = rows.hc.columns(0, H), context = rows.hc.columns(H, config_.memory_width());
  const bool adds_table = packed.input_table.defined() && feed.defined();
  if (adds_table) {
    ops::matmul(feed, packed.feed, rows.cells[0].gates,
                {.table = packed.input_table, .index = rows.ids, .bounded = true});
  } else if (packed.input_table.defined()) {
    ops::embedding(rows.ids, packed.input_table, rows.cells[0].gates);
  } else {
    if (config_.tokens_out()) {
      ops::embedding(rows.ids, embedding_.value, rows.embedded);
      dropout.apply(rows.embedded, rows.names, kDropTarget);
    }
    Cell::input_product(packed.cells[0], rows.embedded, false, rows.cells[0].gates);
  }
  const bool bounded = stack_.config().bounded();
  Tensor added;  // the layer's input before dropout
  for (size_t l = 0; l < layers(); ++l) {
    const bool top = l + 1 == layers();
    const Tensor& y = top ? h : rows.outputs.empty() ? rows.inputs[l] : rows.outputs[l];
    const Tensor& recurred = rows.sums.empty() ? y : rows.sums[l];
    if (l > 0) Cell::input_product(packed.cells[l], rows.inputs[l - 1], bounded, rows.cells[l].gates);
    if (l == 0 && feed.defined() && !adds_table)
      ops::matmul(feed, packed.feed, rows.cells[0].gates, {.accumulate = true, .bounded = true});
    cell(l).recur(packed.cells[l], ragged, false, rows.cells[l], initial[l], recurred, last[l],
                  zoneout_names(dropout, rows.names, l));
    stack_.finish(static_cast<int64_t>(l), added, recurred, y);
    added = y;
    if (top || dropout.layers == 0.0f) continue;
    const int op = kDropDecoderLayer + static_cast<int>(l);
    ops::dropout(y, rows.inputs[l], rows.names.example, rows.names.time, op, dropout.mask(op));
  }
  if (prepared.combined.defined()) {
    ops::matmul(h, packed.combine, rows.combined,
                {.activation = Activation::tanh, .table = prepared.combined, .index = rows.example});
  } else {
    context_.forward(prepared, h, rows.example, rows.covered, context, rows.weights, rows.query);
    combine_.forward(packed.combine, rows.hc, rows.combined, Activation::tanh,
                     bounded && config_.encoder_stack().bounded());
  }
  if (dropout.output > 0.0f) {
    ops::dropout(rows.combined, rows.attentional, rows.names.example, rows.names.time, kDropAttentional,
                 dropout.mask(kDropAttentional));
  }
}

void Decoder::check_target(const Target& target, const Memory& memory) const {
  const char* op = "decode";
  const int64_t sequences = memory.sequences();
  ops::expect(op, "target_lengths", target.lengths, {sequences}, DType::i32);
  int64_t total = 0;
  for (int64_t n = 0; n < sequences; ++n) {
    const int32_t length = target.lengths.i32()[n];
    check(op, length >= 1, "Expected target_lengths of at least 1, got ", length, " at position ", n, ".");
    total += length;
  }
  check(op, total <= INT32_MAX, "Expected target_lengths that sum to at most ", INT32_MAX, ", got ", total,
        ".");
  ops::expect(op, "target", target.ids, {total}, DType::i32);
  const int64_t extra = memory.copies.extra;
  ops::expect_ids(op, "target", target.ids, config_.target_vocab_size + extra);
  if (extra == 0) return;
  const Tensor copies = memory.copies.ids.to(Device::cpu());
  const int32_t *id = target.ids.i32(), *offsets = memory.offsets.i32();
  for (int64_t n = 0, at = 0; n < sequences; ++n) {
    const int32_t *begin = copies.i32() + offsets[n], *end = copies.i32() + offsets[n + 1];
    for (int32_t t = 0; t < target.lengths.i32()[n]; ++t, ++at) {
      check(op, id[at] < config_.target_vocab_size || std::find(begin, end, id[at]) != end,
            "Expected target of tokens of the vocabulary or of their source, got ", id[at], " at position ",
            at, ", which is in neither.");
    }
  }
}

Decoder::Saved Decoder::forward(const Packed& packed, const Context::Prepared& prepared, const Memory& memory,
                                const std::vector<State>& initial, const Target& target,
                                const Dropout& dropout, const int64_t* example_ids, bool keep,
                                const Sampling& sampling) const {
  const int64_t N = memory.sequences();
  check_target(target, memory);
  Saved saved;
  saved.ragged = Ragged(target.lengths.i32(), N);
  const Ragged& ragged = saved.ragged;
  saved.order = to_tensor(ragged.order);
  saved.rows = make_rows(ragged.rows(), memory.longest, dropout, keep);
  saved.targets = Tensor::host({ragged.rows()}, DType::i32);
  const Tensor flat = flat_rows(ragged);
  for (int64_t t = 0; t < ragged.steps(); ++t) {
    for (int64_t i = 0; i < ragged.batch_sizes[static_cast<size_t>(t)]; ++i) {
      const int64_t row = ragged.row(t, i);
      saved.targets.i32()[row] = target.ids.i32()[flat.i32()[row]];
      const int32_t before = t ? target.ids.i32()[flat.i32()[row] - 1] : config_.bos_id;
      saved.rows.ids.i32()[row] = input_id(before);
      if (t > 0 && dropout.word > 0.0f) {
        const int32_t n = ragged.order[static_cast<size_t>(i)];
        if (drops_word(dropout, kDropTargetWord, example_ids ? example_ids[n] : n, t)) {
          saved.rows.ids.i32()[row] = config_.unk_id;
        }
      }
      saved.rows.example.i32()[row] = ragged.order[static_cast<size_t>(i)];
    }
  }
  const bool repeats = keep && dropout.embedding == 0.0f && !sampling.active();
  walk(saved, repeats ? with_distinct_inputs(packed, saved) : packed, prepared, memory, initial, dropout,
       example_ids, sampling);
  return saved;
}

Tensor Decoder::embedded(const Tensor& ids) const {
  const Tensor rows = Tensor::empty({ids.size(), config_.target_embedding_dim});
  ops::embedding(ids, embedding_.value, rows);
  return rows;
}

Decoder::Packed Decoder::with_distinct_inputs(const Packed& packed, Saved& saved) const {
  saved.inputs = distinct_tokens(saved.rows.ids, config_.target_vocab_size);
  if (!saved.inputs.defined()) return packed;
  saved.rows.ids = saved.inputs.rows.index;
  Packed once = packed;
  once.input_table = Tensor::empty({saved.inputs.rows.count, saved.rows.cells[0].gates.dim(1)});
  Cell::input_product(packed.cells[0], embedded(saved.inputs.ids), false, once.input_table);
  return once;
}

Decoder::Saved Decoder::forward_features(const Packed& packed, const Context::Prepared& prepared,
                                         const Memory& memory, const std::vector<State>& initial,
                                         const Tensor& inputs, int64_t steps, const Dropout& dropout,
                                         const int64_t* example_ids, bool keep) const {
  const int64_t N = memory.sequences();
  const std::vector<int32_t> lengths(static_cast<size_t>(N), static_cast<int32_t>(steps));
  Saved saved;
  saved.ragged = Ragged(lengths.data(), N);
  saved.order = to_tensor(saved.ragged.order);
  saved.rows = make_rows(saved.ragged.rows(), memory.longest, dropout, keep);
  saved.rows.embedded = inputs;
  for (int64_t r = 0; r < saved.ragged.rows(); ++r) {
    saved.rows.ids.i32()[r] = 0;
    saved.rows.example.i32()[r] = static_cast<int32_t>(r % N);
  }
  walk(saved, packed, prepared, memory, initial, dropout, example_ids, {});
  return saved;
}

void Decoder::walk(Saved& saved, const Packed& packed, const Context::Prepared& prepared,
                   const Memory& memory, const std::vector<State>& initial, const Dropout& dropout,
                   const int64_t* example_ids, const Sampling& sampling) const {
  const Ragged& ragged = saved.ragged;
  const int64_t N = ragged.sequences();
  const Device device = current_device();
  if (config_.tracks_attention()) {
    Context::fill_places(memory, saved.rows.example, saved.rows.covered.places);
    saved.rows.covered.places = saved.rows.covered.places.to(device);
  }
  saved.rows.ids = saved.rows.ids.to(device);
  saved.rows.example = saved.rows.example.to(device);
  saved.order = saved.order.to(device);
  if (dropout.active()) saved.rows.names = row_names(ragged, example_ids, dropout).to(device);

  std::vector<State> now = make_states(N), next = make_states(N);
  for (size_t l = 0; l < layers(); ++l) {
    ops::gather_rows(initial[l].h, saved.order, now[l].h);
    if (now[l].c.defined()) ops::gather_rows(initial[l].c, saved.order, now[l].c);
  }
  std::optional<SampledInputs> sampled;
  if (sampling.active()) sampled.emplace(sampling, ragged, example_ids);
  int64_t t = 0;
  for (const Block& block : blocks_of(ragged, config_.stepwise() || sampled)) {
    if (sampled) sampled->draw(t++, saved.rows.attentional, saved.rows.ids);
    const int64_t sequences = block.ragged.sequences();
    const Rows rows = saved.rows.slice(block.begin, block.count);
    Tensor feed;
    if (config_.input_feeding && block.previous >= 0) {
      feed = saved.rows.attentional.rows(block.previous, block.count);
    }
    if (config_.tracks_attention()) {
      rows.covered.sum.fill_zero();
      if (block.previous >= 0) {
        if (config_.tracks_all_steps())
          ops::add(saved.rows.covered.sum.rows(block.previous, block.count), rows.covered.sum);
        ops::add(saved.rows.weights.rows(block.previous, block.count), rows.covered.sum);
      }
    }
    forward_block(packed, prepared, block.ragged, rows, feed, slice_states(now, 0, sequences),
                  slice_states(next, 0, sequences), dropout);
    std::swap(now, next);
  }
}

std::vector<State> Decoder::backward(Saved& saved, const Context::Prepared& prepared, const Memory& memory,
                                     const Tensor& dattentional, const AttentionGradient& dattention,
                                     const Memory& dmemory, const Dropout& dropout) const {
  const int64_t N = memory.sequences(), R = saved.ragged.rows(), H = config_.decoder_hidden;
  const int64_t embedding = config_.decoder_input();
  Rows& all = saved.rows;
  const ops::Packed combine = combine_.pack_backward();
  const ops::Packed feed =
      config_.input_feeding ? cell(0).pack_input_backward(embedding, config_.feed_width()) : ops::Packed{};
  std::vector<ops::PackedGru> hidden;
  std::vector<ops::Packed> input(1);
  for (size_t l = 0; l < layers(); ++l) {
    hidden.push_back(cell(l).pack_hidden_backward());
    if (l > 0) input.push_back(cell(l).pack_input_backward(0, H));
    if (config_.decoder_cell == CellKind::gru) all.cells[l].dn = Tensor::empty({R, H});
  }
  const Context::Gradient context_gradient = context_.start_backward(memory, prepared);
  const Tensor dhc = Tensor::empty(all.hc.shape());
  const Tensor dquery = config_.attends() ? Tensor::empty({R, config_.key_width()}) : Tensor();
  // The gradients of a layer's output and of its input, in turn.
  const Tensor dinputs[2] = {layers() > 1 ? Tensor::empty({R, H}) : Tensor(),
                             layers() > 2 && config_.residual ? Tensor::empty({R, H}) : Tensor()};

  std::vector<State> dstates;
  for (size_t l = 0; l < layers(); ++l) dstates.push_back(State::zeros(stack_.config().cell, N));

  Tensor dweights = dattention.dweights, dcovered, later;
  if (config_.tracks_attention()) {  // each weight is part of what later steps see, or the next one
    if (!dweights.defined()) dweights = Tensor::zeros(all.weights.shape());
    dcovered = Tensor::empty({N, memory.longest});
    later = Tensor::zeros({N, memory.longest});
  }

  const std::vector<Block> blocks = blocks_of(saved.ragged, config_.stepwise());
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    const Rows rows = all.slice(block->begin, block->count);
    const Tensor da = dattentional.rows(block->begin, block->count);
    const Tensor d = dhc.rows(block->begin, block->count);
    const Tensor dh = d.columns(0, H), dcontext = d.columns(H, config_.memory_width());
    dropout.apply(da, rows.names, kDropAttentional);
    ops::tanh_backward(rows.combined, da, da);
    ops::matmul(da, combine, d);
    const Tensor later_here = slice_if(later, 0, block->count),
                 dcovered_here = slice_if(dcovered, 0, block->count);
    if (config_.tracks_attention()) ops::add(later_here, dweights.rows(block->begin, block->count));
    context_.backward(prepared, context_gradient, rows.hc.columns(0, H), rows.example, rows.covered,
                      rows.hc.columns(H, config_.memory_width()), rows.weights, rows.query, dcontext,
                      slice_if(dweights, block->begin, block->count), dcovered_here,
                      slice_if(dquery, block->begin, block->count), dh);
    if (config_.tracks_attention()) {
      if (!config_.tracks_all_steps()) later_here.fill_zero();
      ops::add(dcovered_here, later_here);
      if (dattention.dcoverage.defined()) {
        ops::add(dattention.dcoverage.rows(block->begin, block->count), later_here);
      }
    }
    Tensor dy = dh;
    for (size_t l = layers(); l-- > 0;) {
      stack_.finish_backward(static_cast<int64_t>(l), rows.sums.empty() ? Tensor() : rows.sums[l], dy);
      cell(l).recur_backward(hidden[l], block->ragged, false, rows.cells[l], dy,
                             dstates[l].rows(0, block->ragged.sequences()),
                             zoneout_names(dropout, rows.names, l));
      if (l == 0) break;
      const Tensor& buffer = dinputs[1].defined() ? dinputs[l % 2] : dinputs[0];
      const Tensor dx = buffer.rows(block->begin, block->count);
      ops::matmul(rows.cells[l].gates, input[l], dx);
      dropout.apply(dx, rows.names, kDropDecoderLayer + static_cast<int>(l) - 1);
      if (stack_.adds(static_cast<int64_t>(l))) ops::add(dy, dx);
      dy = dx;
    }
    if (config_.input_feeding && block->previous >= 0) {
      ops::matmul(rows.cells[0].gates, feed, dattentional.rows(block->previous, block->count),
                  {.accumulate = true});
    }
  }

  combine_.add_gradients(all.hc, dattentional);
  context_.finish_backward(memory, context_gradient, all.hc.columns(0, H), dquery, dmemory);
  for (size_t l = 1; l < layers(); ++l)
    cell(l).add_input_gradients(cell(l).add_hidden_gradients(all.cells[l]), all.inputs[l - 1], 0);
  const bool once = saved.inputs.defined();
  const Tensor dgates = cell(0).add_hidden_gradients(all.cells[0], saved.inputs.rows);
  cell(0).add_input_gradients(dgates, once ? embedded(saved.inputs.ids) : all.embedded, 0);
  if (config_.input_feeding) {
    const Tensor fed = Tensor::empty({R, config_.feed_width()});
    ops::gather_rows(all.attentional, previous_rows(saved.ragged), fed);
    cell(0).add_input_gradients(all.cells[0].gates, fed, embedding);
  }
  if (config_.tokens_out()) {
    const Tensor dembedded = Tensor::empty({dgates.dim(0), embedding});
    ops::matmul(dgates, cell(0).pack_input_backward(0, embedding), dembedded);
    dropout.apply(dembedded, all.names, kDropTarget);
    ops::embedding_backward(once ? saved.inputs.ids : all.ids, dembedded, embedding_.gradient);
  }

  const Tensor position = to_tensor(saved.ragged.position);
  std::vector<State> dinitial = make_states(N);
  for (size_t l = 0; l < layers(); ++l) {
    ops::gather_rows(dstates[l].h, position, dinitial[l].h);
    if (dinitial[l].c.defined()) ops::gather_rows(dstates[l].c, position, dinitial[l].c);
  }
  return dinitial;
}

}  // namespace s2s::model

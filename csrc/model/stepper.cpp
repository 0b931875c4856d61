#include "model/stepper.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "model/candidates.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/rows.h"
#include "ops/softmax.h"
#include "ops/topk.h"

namespace s2s::model {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

std::span<const int32_t> vocabulary_of(const Shortlist* shortlist) {
  return shortlist ? std::span<const int32_t>(shortlist->ids) : std::span<const int32_t>();
}

bool stay_in_place(const int32_t* parents, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    if (parents[r] != r) return false;
  }
  return true;
}

void gather_states(const std::vector<State>& from, const Tensor& parents, const std::vector<State>& to) {
  for (size_t l = 0; l < from.size(); ++l) {
    ops::gather_rows(from[l].h, parents, to[l].h);
    if (from[l].c.defined()) ops::gather_rows(from[l].c, parents, to[l].c);
  }
}

}  // namespace

ModelStepper::ModelStepper(const Network& network, std::shared_ptr<const PackedNetwork> packed,
                           const Source& source, int64_t max_rows, bool keep_attention,
                           std::span<const int32_t> vocabulary, DecodeWorkspace& workspace)
    : ModelStepper(network, packed, network.encoder().forward(packed->encoder, source, {}, nullptr, nullptr),
                   max_rows, keep_attention, vocabulary, workspace) {}

ModelStepper::ModelStepper(const Network& network, std::shared_ptr<const PackedNetwork> packed, Memory memory,
                           int64_t max_rows, bool keep_attention, std::span<const int32_t> vocabulary,
                           DecodeWorkspace& workspace)
    : network_(network),
      packed_(std::move(packed)),
      memory_(std::move(memory)),
      prepared_(network.decoder().prepare(packed_->context, packed_->decoder, memory_)),
      first_(network.bridge().forward(packed_->bridge, memory_)),
      keep_attention_(keep_attention && network.config().attends()),
      buffers_(workspace.step) {
  buffers_.reserve(network.decoder(), network.config(), max_rows, memory_.longest);
  if (!vocabulary.empty()) shortlist_ = &workspace.shortlist.of_vocabulary(packed_, vocabulary);
}

ModelStepper::ModelStepper(const ModelStepper& other, int64_t max_rows, DecodeWorkspace& workspace)
    : network_(other.network_),
      packed_(other.packed_),
      memory_(other.memory_),
      prepared_(other.prepared_),
      first_(other.first_),
      keep_attention_(other.keep_attention_),
      buffers_(workspace.step) {
  buffers_.reserve(network_.decoder(), network_.config(), max_rows, memory_.longest);
  if (other.shortlist_) shortlist_ = &workspace.shortlist.of_vocabulary(packed_, other.shortlist_->ids);
  if (other.rows_) restore(other.state());
}

std::vector<std::pair<std::string, Tensor>> ModelStepper::state() const {
  const StepBuffers& b = buffers_;
  std::vector<std::pair<std::string, Tensor>> all{{"example", b.rows.example}};
  for (size_t l = 0; l < b.written.size(); ++l) {
    all.emplace_back("h" + std::to_string(l), b.written[l].h);
    if (b.written[l].c.defined()) all.emplace_back("c" + std::to_string(l), b.written[l].c);
  }
  all.emplace_back("attentional", b.rows.attentional);
  if (network_.config().attends()) all.emplace_back("weights", b.rows.weights);
  if (network_.config().tracks_attention()) all.emplace_back("covered", b.rows.covered.sum);
  return all;
}

void ModelStepper::restore(const std::vector<std::pair<std::string, Tensor>>& state) {
  open_rows(state.at(0).second.size());
  const auto own = this->state();
  for (size_t i = 0; i < own.size(); ++i) own[i].second.copy_from(state.at(i).second);
  if (network_.config().tracks_attention()) {
    Context::fill_places(memory_, buffers_.rows.example, buffers_.rows.covered.places);
  }
}

// Makes the buffers hold so many rows, for their contents to be written.
void ModelStepper::open_rows(int64_t rows) {
  StepBuffers& b = buffers_;
  for (State& state : b.initial) state.set_rows(rows);
  for (State& state : b.written) state.set_rows(rows);
  if (b.feed.defined()) b.feed.set_rows(rows);
  if (b.next_covered.defined()) b.next_covered.set_rows(rows);
  b.rows.set_rows(rows);
  b.ragged.set_single_step(rows);
  rows_ = rows;
}

int64_t ModelStepper::source_length(int64_t source) const {
  if (!network_.config().attends()) return 0;
  return memory_.offsets.i32()[source + 1] - memory_.offsets.i32()[source];
}

void ModelStepper::advance(const int32_t* parents, const int32_t* tokens, int64_t rows) {
  StepBuffers& b = buffers_;
  const Tensor none;
  const Tensor* feed = rows_ && network_.config().input_feeding ? &b.feed : &none;
  if (rows_ && network_.config().tracks_attention()) {
    if (!network_.config().tracks_all_steps()) b.rows.covered.sum.fill_zero();
    ops::add(b.rows.weights, b.rows.covered.sum);
  }
  if (rows == rows_ && stay_in_place(parents, rows)) {
    std::swap(b.initial, b.written);
    if (feed == &b.feed) feed = &b.rows.attentional;  // read before the step writes it
  } else {
    move_rows(parents, rows);
  }
  for (int64_t r = 0; r < rows; ++r) b.rows.ids.i32()[r] = network_.decoder().input_id(tokens[r]);
  rows_ = rows;
  network_.decoder().forward_block(packed_->decoder, prepared_, b.ragged, b.rows, *feed, b.initial, b.written,
                                   {});
}

// Everything that belongs to a row comes from its parent, and the buffers get `rows` rows.
void ModelStepper::move_rows(const int32_t* parents, int64_t rows) {
  StepBuffers& b = buffers_;
  b.parents.set_rows(rows);
  std::copy_n(parents, rows, b.parents.i32());
  for (State& state : b.initial) state.set_rows(rows);
  gather_states(rows_ ? b.written : first_, b.parents, b.initial);
  if (rows_ && b.feed.defined()) {
    b.feed.set_rows(rows);
    ops::gather_rows(b.rows.attentional, b.parents, b.feed);
  }
  std::swap(b.rows.example, b.previous_example);
  for (int64_t r = 0; r < rows; ++r) {  // at first a parent is a source
    b.rows.example.i32()[r] = rows_ ? b.previous_example.i32()[parents[r]] : parents[r];
  }
  if (network_.config().tracks_attention()) {
    b.next_covered.set_rows(rows);
    if (rows_) ops::gather_rows(b.rows.covered.sum, b.parents, b.next_covered);
    std::swap(b.rows.covered.sum, b.next_covered);
  }
  b.rows.set_rows(rows);
  if (network_.config().tracks_attention()) {
    if (!rows_) b.rows.covered.sum.fill_zero();
    Context::fill_places(memory_, b.rows.example, b.rows.covered.places);
  }
  for (State& state : b.written) state.set_rows(rows);
  b.ragged.set_single_step(rows);
}

void ModelStepper::candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                              int32_t* tokens) {
  if (processors.only_forbid()) return best_candidates(rows, k, processors.forbidden(), log_probs, tokens);
  std::vector<int32_t>& concerned = buffers_.concerned;
  concerned.clear();
  for (int64_t r = 0; r < rows; ++r) {
    if (processors.concern(r)) concerned.push_back(static_cast<int32_t>(r));
  }
  // The others stand as they are, with the bits that they would have on their own.
  if (static_cast<int64_t>(concerned.size()) < rows) {
    best_candidates(rows, k, processors.forbidden(), log_probs, tokens);
  }
  if (concerned.empty()) return;
  const float* dense = this->log_probs();
  for (const int32_t r : concerned) {
    choose(r, k, dense + r * vocabulary(), processors, log_probs + r * k, tokens + r * k);
  }
}

// The candidates of every row among all tokens but these, without dense scores.
void ModelStepper::best_candidates(int64_t rows, int64_t k, std::span<const int32_t> forbidden,
                                   float* log_probs, int32_t* tokens) {
  const Output::Packed& weights = shortlist_ ? shortlist_->output : packed_->output;
  // Enough that k are left without those forbidden.
  const int64_t columns = copies() ? vocabulary() : weights.weight.shape.n;
  const int64_t best = std::min(columns, k + static_cast<int64_t>(forbidden.size()));
  StepBuffers& b = buffers_;
  const bool direct = best == k && forbidden.empty();
  if (!direct) {
    b.best_log_probs.resize(static_cast<size_t>(rows * best));
    b.best_tokens.resize(static_cast<size_t>(rows * best));
  }
  float* best_log_probs = direct ? log_probs : b.best_log_probs.data();
  int32_t* best_tokens = direct ? tokens : b.best_tokens.data();
  const Tensor scores = Tensor::wrap(best_log_probs, {rows, best}, DType::f32, nullptr),
               chosen = Tensor::wrap(best_tokens, {rows, best}, DType::i32, nullptr);
  if (network_.device().is_cpu()) {
    best_columns(weights, scores, chosen);
  } else {
    const Tensor on_device = Tensor::empty({rows, best}),
                 columns_on_device = Tensor::empty({rows, best}, DType::i32);
    best_columns(weights, on_device, columns_on_device);
    scores.copy_from(on_device);
    chosen.copy_from(columns_on_device);
  }

  take_allowed({rows, best, best_log_probs, best_tokens},
               copies() ? std::span<const int32_t>() : vocabulary_of(shortlist_), forbidden, k, log_probs,
               tokens);
}

// The best continuations of every row, as ops/project_topk.h gives them.
void ModelStepper::best_columns(const Output::Packed& weights, const Tensor& log_probs,
                                const Tensor& columns) {
  if (copies()) return ops::topk(mixed_log_probs(), false, log_probs, columns);
  Output::best(weights, buffers_.rows.attentional, log_probs, columns);
}

// What is generated mixed with what is copied, dense: [rows, vocabulary()], where the network lies. Of a
// shortlist come the listed tokens, and the source's that the vocabulary does not have.
Tensor ModelStepper::mixed_log_probs() {
  StepBuffers& b = buffers_;
  const int64_t width = vocabulary(), V = network_.config().target_vocab_size;
  const Tensor mixture = matrix_in(b.mixture, b.room, width).rows(0, rows_);
  const Tensor generated = mixture.columns(0, V), weights = b.rows.weights;
  Output::logits(packed_->output, b.rows.attentional, generated);
  if (shortlist_) forbid_unlisted(mixture);
  CopyRows rows;
  rows.gate = matrix_in(b.gate, b.room, 1).rows(0, rows_);
  rows.mass = matrix_in(b.mass, b.room, memory_.longest).rows(0, rows_);
  network_.copy_gate().forward(packed_->copy_gate, memory_, b.rows.example.to(network_.device()),
                               b.rows.attentional, weights, rows);
  ops::copy_log_softmax(rows.source, rows.gate.reshape({rows_}), rows.mass, V, mixture);
  if (shortlist_) forbid_unlisted(mixture);
  return mixture;
}

void ModelStepper::forbid_unlisted(const Tensor& scores) const {
  const Tensor host = scores.to(Device::cpu());
  const int64_t V = network_.config().target_vocab_size, width = scores.dim(1);
  for (int64_t r = 0; r < scores.dim(0); ++r) {
    auto listed = shortlist_->ids.begin();
    for (int32_t v = 0; v < V; ++v) {
      if (listed != shortlist_->ids.end() && *listed == v) {
        ++listed;
      } else {
        host.f32()[r * width + v] = kForbidden;
      }
    }
  }
  if (!scores.device().is_cpu()) scores.copy_from(host);
}

const float* ModelStepper::log_probs() {
  const int64_t V = vocabulary();
  StepBuffers& b = buffers_;
  if (!b.logits.defined() || b.logits.size() < rows_ * V) b.logits = Tensor::host({b.room * V}, DType::f32);
  const Tensor dense = b.logits.rows(0, rows_ * V).reshape({rows_, V});
  if (!shortlist_ || copies()) {
    copy_log_probs(dense);
    return dense.f32();
  }
  const int64_t columns = static_cast<int64_t>(shortlist_->ids.size());
  if (!b.short_logits.defined() || b.short_logits.size() < rows_ * columns) {
    b.short_logits = Tensor::empty({b.room * columns});
  }
  const Tensor listed = b.short_logits.rows(0, rows_ * columns).reshape({rows_, columns});
  Output::logits(shortlist_->output, b.rows.attentional, listed);
  ops::softmax(listed, listed, true);
  const Tensor read = listed.to(Device::cpu());
  std::fill_n(dense.f32(), dense.size(), kForbidden);
  for (int64_t r = 0; r < rows_; ++r) {
    for (int64_t i = 0; i < columns; ++i) {
      dense.f32()[r * V + shortlist_->ids[static_cast<size_t>(i)]] = read.f32()[r * columns + i];
    }
  }
  return dense.f32();
}

void ModelStepper::copy_log_probs(const Tensor& out) {
  if (copies()) return out.copy_from(mixed_log_probs());
  const Tensor work = out.device() == network_.device() ? out : Tensor::empty(out.shape());
  Output::logits(packed_->output, buffers_.rows.attentional, work);
  ops::softmax(work, work, true);
  if (out.device() != network_.device()) out.copy_from(work);
}

const float* ModelStepper::attention(int64_t* stride) {
  if (!keep_attention_) return nullptr;
  *stride = memory_.longest;
  // The rows' weights lie one after the other, whatever room there is.
  if (network_.device().is_cpu()) return buffers_.rows.weights.f32();
  buffers_.host_weights = buffers_.rows.weights.rows(0, rows_).to(Device::cpu());
  return buffers_.host_weights.f32();
}

}  // namespace s2s::model

#include "model/stepper.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "ops/matmul.h"
#include "ops/rows.h"
#include "ops/softmax.h"
#include "ops/topk.h"

namespace s2s::model {

namespace {

std::vector<State> first_rows(const std::vector<State>& states, int64_t count) {
  std::vector<State> out;
  out.reserve(states.size());
  for (const State& state : states) out.push_back(state.rows(0, count));
  return out;
}

}  // namespace

ModelStepper::ModelStepper(const Network& network, std::shared_ptr<const PackedNetwork> packed,
                           const Source& source, int64_t max_rows, bool keep_attention)
    : network_(network),
      packed_(std::move(packed)),
      memory_(network.encoder().forward(packed_->encoder, source, {}, nullptr, nullptr)),
      prepared_(network.decoder().context().prepare(packed_->context, memory_)),
      keep_attention_(keep_attention && network.config().attends()),
      buffers_(network.decoder().make_rows(max_rows, memory_.longest, false)),
      last_(network.bridge().forward(packed_->bridge, memory_)),
      initial_(network.decoder().make_states(max_rows)),
      written_(network.decoder().make_states(max_rows)),
      parents_(Tensor::empty({max_rows}, DType::i32)),
      logits_(Tensor::empty({max_rows, network.config().target_vocab_size})) {
  if (network.config().input_feeding) feed_ = Tensor::empty({max_rows, network.config().feed_width()});
}

int64_t ModelStepper::source_length(int64_t source) const {
  if (!network_.config().attends()) return 0;
  return memory_.offsets.i32()[source + 1] - memory_.offsets.i32()[source];
}

void ModelStepper::advance(const int32_t* parents, const int32_t* tokens, int64_t rows) {
  const Tensor parent = parents_.rows(0, rows);
  std::copy_n(parents, rows, parent.i32());
  const std::vector<State> initial = first_rows(initial_, rows);
  for (size_t l = 0; l < initial.size(); ++l) {
    ops::gather_rows(last_[l].h, parent, initial[l].h);
    if (initial[l].c.defined()) ops::gather_rows(last_[l].c, parent, initial[l].c);
  }
  const bool first = rows_ == 0;
  Tensor feed;
  if (!first && feed_.defined()) {
    feed = feed_.rows(0, rows);
    ops::gather_rows(step_.attentional, parent, feed);
  }
  std::vector<int32_t> sources(parents, parents + rows);  // at first a parent is a source
  if (!first) {
    for (int32_t& source : sources) source = step_.example.i32()[source];
  }
  step_ = buffers_.slice(0, rows);
  std::copy(sources.begin(), sources.end(), step_.example.i32());
  std::copy_n(tokens, rows, step_.ids.i32());
  rows_ = rows;
  last_ = first_rows(written_, rows);
  network_.decoder().forward_block(packed_->decoder, prepared_, Ragged::single_step(rows), step_, feed,
                                   initial, last_, {});
  network_.output().logits(packed_->output, step_.attentional, logits_.rows(0, rows));
}

void ModelStepper::candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                              int32_t* tokens) {
  if (!processors.empty()) return Stepper::candidates(rows, k, processors, log_probs, tokens);
  ops::topk(logits_.rows(0, rows), true, Tensor::wrap(log_probs, {rows, k}, DType::f32, nullptr),
            Tensor::wrap(tokens, {rows, k}, DType::i32, nullptr));
  for (int64_t r = 0; r < rows; ++r) {
    if (tokens[r * k] < 0) log_probs[r * k] = std::numeric_limits<float>::quiet_NaN();
  }
}

const float* ModelStepper::log_probs() {
  const Tensor logits = logits_.rows(0, rows_);
  ops::softmax(logits, logits, true);
  return logits.f32();
}

Tensor ModelStepper::copy_log_probs() const {
  const Tensor out = Tensor::empty({rows_, vocabulary()});
  ops::softmax(logits_.rows(0, rows_), out, true);
  return out;
}

const float* ModelStepper::attention(int64_t* stride) {
  if (!keep_attention_) return nullptr;
  *stride = memory_.longest;
  return step_.weights.f32();
}

}  // namespace s2s::model

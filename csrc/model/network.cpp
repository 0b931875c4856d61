#include "model/network.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "model/device_search.h"
#include "model/joint_stepper.h"
#include "model/stepper.h"
#include "model/zero_gradient.h"
#include "ops/coverage.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

Parameters allocated(const Config& config, bool trainable, Device device) {
  Parameters all = Network::declared(config);
  const DeviceScope scope(device);
  all.allocate(trainable);
  return all;
}

// The part of the decoder's loss in the whole.
float decoder_share(const Config& config) {
  return 1.0f - config.ctc_weight;
}

// The coverage loss of all rows, and where `gradient` is defined its gradients.
double coverage_loss(const Config& config, const Decoder::Rows& rows,
                     const Decoder::AttentionGradient& gradient) {
  const int64_t R = rows.weights.dim(0);
  const Tensor losses = Tensor::empty({R});
  const float scale = decoder_share(config) * config.coverage_loss / static_cast<float>(R);
  ops::coverage_loss(rows.weights, rows.covered.sum, scale, losses, gradient.dweights, gradient.dcoverage);
  const Tensor host = losses.to(Device::cpu());
  double sum = 0.0;
  for (int64_t r = 0; r < R; ++r) sum += double{host.f32()[r]};
  return double{config.coverage_loss} * sum;
}

CopyRows copy_rows(const Network& network, const ops::Packed& gate, const Memory& memory,
                   const Decoder::Rows& rows) {
  CopyRows out;
  network.copy_gate().forward(gate, memory, rows.example, rows.attentional, rows.weights, out);
  return out;
}

}  // namespace

Parameters Network::declared(const Config& config) {
  config.validate();
  Parameters all;
  Encoder::declare(all, config);
  Bridge::declare(all, config);
  Decoder::declare(all, config);
  Output::declare(all, config);
  CopyGate::declare(all, config);
  CtcHead::declare(all, config);
  return all;
}

Network::Network(const Config& config, bool trainable, ComputeType compute_type, Device device)
    : config_(config),
      compute_type_(compute_type),
      device_(device),
      parameters_(allocated(config, trainable, device)) {
  build();
}

// The pieces, around the parameters that are there.
void Network::build() {
  encoder_ = Encoder(parameters_, config_);
  bridge_ = Bridge(parameters_, config_);
  decoder_ = Decoder(parameters_, config_);
  output_ = Output(parameters_, config_);
  copy_gate_ = CopyGate(parameters_, config_);
  ctc_ = CtcHead(parameters_, config_);
}

LossSums Network::forward_backward(const Source& source, const Target& target, const TrainingStep& step,
                                   float smoothing, ComputeType compute_type) {
  const DeviceScope scope(device_);
  const ops::ProductScope products(compute_type);
  const Dropout dropout{.embedding = config_.embedding_dropout.value_or(config_.dropout),
                        .layers = config_.dropout,
                        .output = config_.output_dropout.value_or(config_.dropout),
                        .variational = config_.variational_dropout,
                        .word = config_.word_dropout,
                        .zoneout = config_.zoned(),
                        .seed = step.seed,
                        .update = step.update};
  Encoder::Saved encoder_saved;
  const Memory memory = encoder_.forward(encoder_.pack(), source, dropout, step.example_ids, &encoder_saved);
  const std::vector<State> initial = bridge_.forward(bridge_.pack(), memory);
  const Context& context = decoder_.context();
  const Context::Prepared prepared = context.prepare(context.pack(), memory);
  const Output::Packed output = output_.pack();
  const auto logits = [&](const Tensor& attentional) {
    const Tensor z = Tensor::empty({attentional.dim(0), config_.target_vocab_size});
    Output::logits(output, attentional, z);
    return z;
  };
  const Sampling sampling{step.sampling, step.seed, step.update, config_.target_vocab_size, logits};
  Decoder::Saved saved = decoder_.forward(decoder_.pack(), prepared, memory, initial, target, dropout,
                                          step.example_ids, true, sampling);

  parameters_.gradients().fill_zero();
  const Tensor dattentional = Tensor::empty(saved.rows.attentional.shape());
  CopyRows copying;
  if (config_.copy_attention) {
    copying = copy_rows(*this, copy_gate_.pack(), memory, saved.rows);
    copying.dgate = Tensor::empty(copying.gate.shape());
    copying.dweights = Tensor::empty(copying.mass.shape());
  }
  LossSums sums = output_.loss(output, saved.rows.attentional, config_.copy_attention ? &copying : nullptr,
                               saved.targets, smoothing, {}, dattentional, decoder_share(config_));
  if (config_.copy_attention) copy_gate_.backward(copying, saved.rows.attentional, dattentional);
  Decoder::AttentionGradient dattention{copying.dweights, {}};
  if (config_.coverage_loss > 0.0f) {
    dattention.dcoverage = Tensor::empty(saved.rows.weights.shape());
    if (!dattention.dweights.defined()) dattention.dweights = Tensor::zeros(saved.rows.weights.shape());
    sums.loss += coverage_loss(config_, saved.rows, dattention);
  }
  const Memory dmemory = zero_gradient(memory);
  if (config_.ctc_weight > 0.0f) {
    sums.loss *= double{decoder_share(config_)};
    sums.loss += ctc_.loss(ctc_.pack(), memory, target, &dmemory);
  }
  const std::vector<State> dinitial =
      decoder_.backward(saved, prepared, memory, dattentional, dattention, dmemory, dropout);
  bridge_.backward(memory, initial, dinitial, dmemory);
  encoder_.backward(encoder_saved, dmemory, dropout);
  for (const ParameterView& p : parameters_.layout()) {
    if (p.frozen) parameters_.gradient(p.name).fill_zero();
  }
  return sums;
}

namespace {

// Teacher forcing without dropout.
struct Forced {
  Ragged ragged;
  LossSums sums;
  Tensor nll;  // [R], ragged
};

Forced force(const Network& network, const Source& source, const Target& target, float smoothing) {
  const auto packed = network.packed();
  const Decoder& decoder = network.decoder();
  const Memory memory = network.encoder().forward(packed->encoder, source, {}, nullptr, nullptr);
  const Decoder::Saved saved =
      decoder.forward(packed->decoder, decoder.prepare(packed->context, packed->decoder, memory), memory,
                      network.bridge().forward(packed->bridge, memory), target, {}, nullptr, false);
  CopyRows copying;
  const bool copies = network.config().copy_attention;
  if (copies) copying = copy_rows(network, packed->copy_gate, memory, saved.rows);
  const Tensor nll = Tensor::empty({saved.ragged.rows()});
  LossSums sums = network.output().loss(packed->output, saved.rows.attentional, copies ? &copying : nullptr,
                                        saved.targets, smoothing, nll, {});
  if (network.config().coverage_loss > 0.0f) sums.loss += coverage_loss(network.config(), saved.rows, {});
  if (network.config().ctc_weight > 0.0f) {
    sums.loss *= double{decoder_share(network.config())};
    sums.loss += network.ctc().loss(packed->ctc, memory, target, nullptr);
  }
  return {saved.ragged, sums, nll};
}

}  // namespace

LossSums Network::loss(const Source& source, const Target& target, float smoothing) const {
  const DeviceScope scope(device_);
  return force(*this, source, target, smoothing).sums;
}

Tensor Network::score(const Source& source, const Target& target) const {
  const DeviceScope scope(device_);
  const Forced forced = force(*this, source, target, 0.0f);
  const Tensor flat = Tensor::empty({forced.nll.size(), 1});
  ops::gather_rows(forced.nll.reshape(flat.shape()), ragged_rows(forced.ragged), flat);
  return flat.reshape({flat.size()}).to(Device::cpu());
}

Network::~Network() {
  delete spare_.load();
}

namespace {

// S2S_DEVICE_LOOP=0 and =1 say where the loop of a search runs, for tests and measurements.
bool loops_on(Device device) {
  const char* wanted = std::getenv("S2S_DEVICE_LOOP");
  return wanted ? std::strcmp(wanted, "1") == 0 : !device.is_cpu();
}

}  // namespace

SearchResults Network::generate(const Source& source, SearchOptions options) const {
  struct Borrowed {
    explicit Borrowed(std::atomic<DecodeWorkspace*>& spare) : spare(spare), taken(spare.exchange(nullptr)) {
      if (!taken) taken = std::make_unique<DecodeWorkspace>();
    }
    ~Borrowed() { delete spare.exchange(taken.release()); }
    std::atomic<DecodeWorkspace*>& spare;
    std::unique_ptr<DecodeWorkspace> taken;
  };
  const Borrowed workspace(spare_);
  return generate(source, std::move(options), *workspace.taken);
}

void Network::prepare(const Tensor& source_lengths, SearchOptions& options) const {
  options.start_token = config_.bos_id;
  options.unk_token = config_.unk_id;
  if (options.max_length_ratio) {
    const int32_t* lengths = source_lengths.i32();
    options.source_lengths.assign(lengths, lengths + source_lengths.size());
  }
  if (options.end_tokens.empty()) options.end_tokens = {config_.eos_id};
  validate(options, config_.target_vocab_size);
  check("search", options.ctc_weight == 0 || config_.ctc_weight > 0.0f,
        "Expected ctc_weight 0 with a model that has no CTC output, got ", options.ctc_weight, ".");
}

SearchResults Network::generate(const Source& source, SearchOptions options,
                                DecodeWorkspace& workspace) const {
  const DeviceScope scope(device_);
  prepare(source.lengths, options);
  const int64_t sources = source.lengths.size();
  const auto packed = this->packed();
  const int64_t columns =
      options.vocabulary ? static_cast<int64_t>(options.vocabulary->size()) : config_.target_vocab_size;
  if (loops_on(device_) && sources > 0 && !config_.copy_attention && !config_.tracks_attention() &&
      options.ctc_weight == 0 && runs_on_device(options, sources, columns))
    return search_on_device(*this, packed, source, options, workspace);
  std::span<const int32_t> vocabulary;
  if (options.vocabulary) vocabulary = *options.vocabulary;
  ModelStepper stepper(*this, packed, source, sources * most_rows(options), keeps_attention(options),
                       vocabulary, workspace);
  return search_over(stepper, sources, options, workspace);
}

SearchResults Network::generate(const Memory& memory, const Tensor& source_lengths,
                                SearchOptions options) const {
  const DeviceScope scope(device_);
  prepare(source_lengths, options);
  DecodeWorkspace workspace;
  std::span<const int32_t> vocabulary;
  if (options.vocabulary) vocabulary = *options.vocabulary;
  ModelStepper stepper(*this, packed(), memory, memory.sequences() * most_rows(options),
                       keeps_attention(options), vocabulary, workspace);
  return search_over(stepper, memory.sequences(), options, workspace);
}

SearchResults Network::search_over(ModelStepper& stepper, int64_t sources, const SearchOptions& options,
                                   DecodeWorkspace& workspace) const {
  if (options.ctc_weight > 0) {
    JointStepper joint(*this, *packed(), stepper, options);
    return s2s::generate(joint, sources, options, workspace.search);
  }
  return s2s::generate(stepper, sources, options, workspace.search);
}

std::shared_ptr<const PackedNetwork> Network::packed() const {
  if (packed_only_) return packed_only_;
  const DeviceScope scope(device_);
  return cache_.get(parameters_, [&] {
    const ComputeType type = compute_type_;
    return PackedNetwork{encoder_.pack(type),
                         bridge_.pack(type),
                         decoder_.context().pack(type),
                         decoder_.pack_for_inference(type),
                         output_.pack(type),
                         copy_gate_.pack(),
                         ctc_.pack(type)};
  });
}

void Network::keep_packed_only() {
  packed_only_ = packed();
  if (!device_.is_cpu()) device_api(device_).synchronize();  // callers work in streams of their own
  parameters_.release([](const ParameterView& p) {
    return p.shape.rank() == 1 || p.name.find("embedding") != std::string::npos;
  });
  build();
}

}  // namespace s2s::model

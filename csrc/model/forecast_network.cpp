#include "model/forecast_network.h"

#include <algorithm>
#include <utility>

#include "model/forecast_rows.h"
#include "model/zero_gradient.h"
#include "ops/check.h"
#include "ops/norm.h"
#include "ops/rows.h"

namespace s2s::model {
namespace {

constexpr const char *kHead = "head", *kSkip = "skip";

Parameters allocated(const ForecastConfig& config, bool trainable, Device device) {
  Parameters all = ForecastNetwork::declared(config);
  const DeviceScope scope(device);
  all.allocate(trainable);
  return all;
}

}  // namespace

Parameters ForecastNetwork::declared(const ForecastConfig& config) {
  config.validate();
  Parameters all;
  Encoder::declare(all, config.network);
  Bridge::declare(all, config.network);
  Decoder::declare(all, config.network);
  Linear::declare(all, kHead, config.channels * config.parameters(), config.network.attentional_width());
  if (config.skips()) Linear::declare(all, kSkip, config.skip_outputs, config.skip_inputs);
  return all;
}

void ForecastConfig::validate() const {
  const char* op = "ForecastConfig";
  check(op, channels >= 1 && channels <= 1 << 16, "Expected channels from 1 to 65536, got ", channels, ".");
  check(op, covariates >= 0, "Expected covariates of at least 0, got ", covariates, ".");
  check(op, (distribution == Distribution::quantiles) == !levels.empty(),
        "Expected quantiles with distribution quantiles, and with no other.");
  for (size_t i = 0; i < levels.size(); ++i) {
    check(op, levels[i] > (i ? levels[i - 1] : 0.0f) && levels[i] < 1.0f,
          "Expected quantiles between 0 and 1 in ascending order, got ", levels[i], " at position ", i, ".");
  }
  for (size_t i = 0; i < lags.size(); ++i) {
    check(op, lags[i] > (i ? lags[i - 1] : 0) && lags[i] <= 1 << 20,
          "Expected lags of at least 1 in ascending order, got ", lags[i], " at position ", i, ".");
  }
  check(op, skip_inputs >= 0 && (skip_inputs > 0) == (skip_outputs > 0),
        "Expected skip_inputs and skip_outputs both positive or both 0, got ", skip_inputs, " and ",
        skip_outputs, ".");
  check(op, !skips() || distribution != Distribution::negative_binomial,
        "Expected no linear skip with distribution negative_binomial, whose mean has no offset.");
  check(op, network.target_features > 0 && network.source_features > 0,
        "Expected lags or covariates for the decoder, and features of the past, got none.");
  check(op, network.target_features == static_cast<int64_t>(lags.size()) * channels + covariates,
        "Expected target_features of lags x channels + covariates, got ", network.target_features, ".");
  network.validate();
}

ForecastNetwork::ForecastNetwork(const ForecastConfig& config, bool trainable, ComputeType compute_type,
                                 Device device)
    : config_(config),
      compute_type_(compute_type),
      device_(device),
      parameters_(allocated(config, trainable, device)),
      encoder_(parameters_, config.network),
      bridge_(parameters_, config.network),
      decoder_(parameters_, config.network),
      head_(parameters_, kHead) {
  if (config.skips()) skip_ = Linear(parameters_, kSkip);
  if (!config.levels.empty()) {
    const Tensor levels = Tensor::host({static_cast<int64_t>(config.levels.size())}, DType::f32);
    std::copy(config.levels.begin(), config.levels.end(), levels.f32());
    levels_ = levels.to(device);
  }
}

ForecastNetwork::Packed ForecastNetwork::pack(ComputeType type, bool inference) const {
  Decoder::Packed decoder = inference ? decoder_.pack_for_inference(type) : decoder_.pack(type);
  if (inference && !config_.lags.empty())
    decoder_.split_input(decoder, static_cast<int64_t>(config_.lags.size()) * config_.channels, type);
  return {encoder_.pack(type), bridge_.pack(type), decoder_.context().pack(type),
          std::move(decoder),  head_.pack(type),   config_.skips() ? skip_.pack() : ops::Packed{}};
}

std::shared_ptr<const ForecastNetwork::Packed> ForecastNetwork::packed() const {
  const DeviceScope scope(device_);
  return cache_.get(parameters_, [&] { return pack(compute_type_, true); });
}

void ForecastNetwork::check_windows(const char* op, const Windows& w, bool target, bool future) const {
  const int64_t N = w.past.lengths.defined() ? w.past.lengths.size() : 0, T = w.steps, D = config_.channels;
  check(op, N >= 1, "Expected past_lengths of at least one window, got none.");
  check(op, T >= 1, "Expected at least one step, got ", T, ".");
  check(op, N * std::max(T, config_.history() + T) <= INT32_MAX / std::max<int64_t>(D, 1),
        "Expected windows of fewer than 2^31 values together.");
  const auto given = [&](const char* name, const Tensor& t, bool wanted, Shape shape) {
    if (!wanted) {
      check(op, !t.defined(), "Expected no ", name, ": this model reads none.");
      return;
    }
    ops::expect(op, name, t, shape);
    ops::expect_contiguous(op, name, t);
  };
  given("known", w.known, !config_.lags.empty(), {N, config_.history() + (future ? T : 0), D});
  given("covariates", w.covariates, config_.covariates > 0, {N, T, config_.covariates});
  given("target", w.target, target, {N, T, D});
  given("window", w.window, config_.skips(), {N, D, config_.skip_inputs});
  const bool counts = config_.distribution == Distribution::negative_binomial;
  given("scale", w.scale, counts, {N, D});
  check(op, !counts || !w.offset.defined(), "Expected no offset with distribution negative_binomial.");
  given("offset", w.offset, w.offset.defined(), {N, T, D});
  check(op, !config_.skips() || T <= config_.skip_outputs, "Expected at most ", config_.skip_outputs,
        " steps, for which the linear skip was made, got ", T, ".");
  if (w.example_ids.defined()) ops::expect(op, "example_ids", w.example_ids, {N}, DType::i64);
}

// [R, C] of all steps, time-major: what the channels were by each lag, then the covariates.
Tensor ForecastNetwork::decoder_inputs(const Windows& w, const Tensor& from_flat) const {
  const int64_t N = w.past.lengths.size(), T = w.steps, D = config_.channels, H = config_.history();
  const Tensor x = Tensor::empty({T * N, config_.network.target_features});
  int64_t column = 0;
  if (w.known.defined()) {
    const Tensor known = as_rows(w.known);
    for (const int64_t lag : config_.lags) {
      const Tensor index = time_major(T, N, [&](int64_t t, int64_t n) { return n * (H + T) + H + t - lag; });
      ops::gather_rows(known, index, x.columns(column, D));
      column += D;
    }
  }
  if (w.covariates.defined()) {
    ops::gather_rows(as_rows(w.covariates), from_flat, x.columns(column, config_.covariates));
  }
  return x;
}

// [R, D] time-major, or undefined.
Tensor ForecastNetwork::offsets(const Packed& packed, const Windows& w, const Tensor& from_flat) const {
  Tensor offset;
  if (w.offset.defined()) offset = gathered(as_rows(w.offset), from_flat);
  if (!config_.skips()) return offset;
  const int64_t N = w.past.lengths.size(), T = w.steps, D = config_.channels, most = config_.skip_outputs;
  const Tensor y = Tensor::empty({N * D, most});
  skip_.forward(packed.skip, as_rows(w.window), y, Activation::none, false);
  const Tensor index = time_major(T, N * D, [&](int64_t t, int64_t series) { return series * most + t; });
  const Tensor skip = gathered(y.reshape({N * D * most, 1}), index).reshape({T * N, D});
  if (!offset.defined()) return skip;
  ops::add(skip, offset);
  return offset;
}

ops::DistributionOf ForecastNetwork::distribution(const Tensor& offset, const Tensor& scale) const {
  return {config_.distribution, levels_, offset, scale};
}

ForecastNetwork::Forward ForecastNetwork::forward(const Packed& packed, const Windows& w,
                                                  const Dropout& dropout, bool keep) const {
  Forward f;
  const int64_t N = w.past.lengths.size();
  const int64_t* examples = w.example_ids.defined() ? w.example_ids.i64() : nullptr;
  f.from_flat = time_major(w.steps, N, [&](int64_t t, int64_t n) { return n * w.steps + t; });
  f.memory = encoder_.forward(packed.encoder, w.past, dropout, examples, keep ? &f.encoder_saved : nullptr);
  f.initial = bridge_.forward(packed.bridge, f.memory);
  f.prepared = decoder_.prepare(packed.context, packed.decoder, f.memory);
  f.decoder_saved =
      decoder_.forward_features(packed.decoder, f.prepared, f.memory, f.initial,
                                decoder_inputs(w, f.from_flat), w.steps, dropout, examples, keep);
  f.offset = offsets(packed, w, f.from_flat);
  if (w.scale.defined()) {
    f.scale =
        gathered(w.scale.to(current_device()), time_major(w.steps, N, [](int64_t, int64_t n) { return n; }));
  }
  const Tensor& attentional = f.decoder_saved.rows.attentional;
  f.raw = Tensor::empty({attentional.dim(0), config_.channels * config_.parameters()});
  head_.forward(packed.head, attentional, f.raw, Activation::none, false);
  return f;
}

namespace {

ForecastLoss summed(const Tensor& losses, const Tensor& target) {
  ForecastLoss sums;
  const Tensor host = losses.to(Device::cpu()), targets = target.to(Device::cpu());
  for (int64_t i = 0; i < host.size(); ++i) {
    sums.loss += double{host.f32()[i]};
    sums.values += targets.f32()[i] == targets.f32()[i];
  }
  return sums;
}

int64_t count_values(const char* op, const Tensor& target) {
  const Tensor host = target.to(Device::cpu());
  int64_t values = 0;
  for (int64_t i = 0; i < host.size(); ++i) values += host.f32()[i] == host.f32()[i];
  check(op, values > 0, "Expected target with at least one value that is not missing, got none.");
  return values;
}

}  // namespace

// dx [R, D * P] of the raw parameters: those of the locations, back through the linear layer.
void ForecastNetwork::skip_backward(const Windows& w, const Tensor& dx) const {
  const int64_t N = w.past.lengths.size(), T = w.steps, D = config_.channels, most = config_.skip_outputs;
  const Tensor index = Tensor::host({N * D * most}, DType::i32);
  for (int64_t series = 0, at = 0; series < N * D; ++series) {
    for (int64_t t = 0; t < most; ++t, ++at) {
      index.i32()[at] = t < T ? static_cast<int32_t>(t * N * D + series) : -1;
    }
  }
  const Tensor there = index.to(current_device());
  const Tensor elements = dx.reshape({T * N * D, config_.parameters()});
  const Tensor dy = Tensor::empty({N * D * most, 1});
  ops::gather_rows(elements.columns(0, 1), there, dy);
  for (int64_t j = 1; j < config_.parameters() && config_.distribution == Distribution::quantiles; ++j) {
    ops::add(gathered(elements.columns(j, 1), there), dy);
  }
  skip_.add_gradients(as_rows(w.window), dy.reshape({N * D, most}));
}

ForecastLoss ForecastNetwork::forward_backward(const Windows& w, uint64_t seed, uint32_t update,
                                               ComputeType compute_type) {
  const char* op = "forward_backward";
  check_windows(op, w, true, true);
  const int64_t values = count_values(op, w.target);
  const DeviceScope scope(device_);
  const ops::ProductScope products(compute_type);
  const Config& c = config_.network;
  const Dropout dropout{.layers = c.dropout,
                        .output = c.output_dropout.value_or(c.dropout),
                        .variational = c.variational_dropout,
                        .zoneout = c.zoned(),
                        .seed = seed,
                        .update = update};
  const Packed packed = pack(ComputeType::float32, false);
  Forward f = forward(packed, w, dropout, true);
  parameters_.gradients().fill_zero();

  const Tensor target = gathered(as_rows(w.target), f.from_flat);
  const Tensor losses = Tensor::empty(target.shape());
  ops::distribution_loss(f.raw, distribution(f.offset, f.scale), target, 1.0f / static_cast<float>(values),
                         losses, f.raw);
  const ForecastLoss sums = summed(losses, target);

  const Tensor& attentional = f.decoder_saved.rows.attentional;
  const Tensor dattentional = Tensor::empty(attentional.shape());
  ops::matmul(f.raw, head_.pack_backward(), dattentional);
  head_.add_gradients(attentional, f.raw);
  if (config_.skips()) skip_backward(w, f.raw);
  const Memory dmemory = zero_gradient(f.memory);
  const std::vector<State> dinitial =
      decoder_.backward(f.decoder_saved, f.prepared, f.memory, dattentional, {}, dmemory, dropout);
  bridge_.backward(f.memory, f.initial, dinitial, dmemory);
  encoder_.backward(f.encoder_saved, dmemory, dropout);
  for (const ParameterView& p : parameters_.layout()) {
    if (p.frozen) parameters_.gradient(p.name).fill_zero();
  }
  return sums;
}

ForecastLoss ForecastNetwork::loss(const Windows& w) const {
  check_windows("loss", w, true, true);
  const DeviceScope scope(device_);
  const Forward f = forward(*packed(), w, {}, false);
  const Tensor target = gathered(as_rows(w.target), f.from_flat);
  const Tensor losses = Tensor::empty(target.shape());
  ops::distribution_loss(f.raw, distribution(f.offset, f.scale), target, 1.0f, losses, {});
  return summed(losses, target);
}

Tensor ForecastNetwork::distributions(const Windows& w) const {
  check_windows("distributions", w, false, true);
  const DeviceScope scope(device_);
  const Forward f = forward(*packed(), w, {}, false);
  const int64_t N = w.past.lengths.size(), width = f.raw.dim(1);
  ops::distribution_parameters(f.raw, distribution(f.offset, f.scale), config_.channels, f.raw);
  return ops::swap_axes(f.raw.reshape({w.steps, N, width})).to(Device::cpu());
}

}  // namespace s2s::model

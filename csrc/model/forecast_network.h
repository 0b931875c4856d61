// ForecastNetwork: an encoder-decoder of real values. The decoder reads what the channels were some steps
// before (lags; none: all steps of a forecast are computed at once) and covariates; a linear layer gives the
// raw parameters of a distribution for each channel (ops/distribution.h). Loss and gradients of a batch of
// windows, parameters, and many sample paths from states that are encoded once.
//
// All windows of a batch are forecast for one number of steps T; their pasts may be of different lengths.
#pragma once

#include <memory>
#include <vector>

#include "model/decoder.h"
#include "model/network.h"
#include "model/packed_cache.h"
#include "ops/distribution.h"

namespace s2s::model {

struct ForecastConfig {
  Config network;  // source_features: of the past; target_features: lags x channels + covariates
  Distribution distribution = Distribution::normal;
  int64_t channels = 1;       // D
  std::vector<float> levels;  // of quantiles
  std::vector<int64_t> lags;  // ascending, from 1
  int64_t covariates = 0;     // K
  int64_t skip_inputs = 0;    // L: of a linear layer past -> forecast, one for all channels, that is added to
  int64_t skip_outputs = 0;   // the locations of at most so many steps (Zeng et al. 2023); 0: none

  int64_t parameters() const {
    return ops::distribution_width(distribution, static_cast<int64_t>(levels.size()));
  }
  int64_t history() const { return lags.empty() ? 0 : lags.back(); }
  bool skips() const { return skip_inputs > 0; }
  // Throws std::invalid_argument that names the field.
  void validate() const;
};

// Windows as the caller gives them, on the host or on the network's device. What a window lacks is undefined.
struct Windows {
  Source past;         // float32 [sum S, F]
  int64_t steps = 0;   // T
  Tensor known;        // [N, history + T, D] what lags read, without gaps; to sample [N, history, D]
  Tensor covariates;   // [N, T, K]
  Tensor target;       // [N, T, D]; NaN: missing
  Tensor offset;       // [N, T, D] added to the locations
  Tensor scale;        // [N, D] counts of a unit (negative_binomial)
  Tensor window;       // [N, D, L] what the linear layer reads
  Tensor example_ids;  // [N] int64, the host's; undefined: the position in the batch
};

struct ForecastLoss {
  double loss = 0;     // summed
  int64_t values = 0;  // targets that are not missing
};

class ForecastNetwork {
 public:
  explicit ForecastNetwork(const ForecastConfig& config, bool trainable = true,
                           ComputeType compute_type = ComputeType::float32, Device device = Device::cpu());
  // What such a network has, without memory for it.
  static Parameters declared(const ForecastConfig& config);

  const ForecastConfig& config() const { return config_; }
  ComputeType compute_type() const { return compute_type_; }
  Device device() const { return device_; }
  const Parameters& parameters() const { return parameters_; }

  // Fills the gradients with those of loss / values, dropout on.
  ForecastLoss forward_backward(const Windows& windows, uint64_t seed, uint32_t update,
                                ComputeType compute_type = ComputeType::float32);
  ForecastLoss loss(const Windows& windows) const;
  // [N, T, D * P] the parameters of every value, given the true ones before it (ops/distribution.h); the
  // host's.
  Tensor distributions(const Windows& windows) const;
  // [N, paths, T, D], the host's.
  Tensor sample(const Windows& windows, int64_t paths, uint64_t seed) const;

  void watch() { cache_.watch(); }
  void weights_changed() { cache_.drop(); }
  void set_frozen(const std::string& name, bool frozen) { parameters_.set_frozen(name, frozen); }

 private:
  struct Packed {
    Encoder::Packed encoder;
    Bridge::Packed bridge;
    Context::Packed context;
    Decoder::Packed decoder;
    ops::Packed head, skip;
  };
  struct Forward;
  struct Paths;
  class PathBlock;
  Packed pack(ComputeType type, bool inference) const;
  std::shared_ptr<const Packed> packed() const;
  void check_windows(const char* op, const Windows& windows, bool target, bool future) const;
  Tensor decoder_inputs(const Windows& windows, const Tensor& from_flat) const;
  Tensor offsets(const Packed& packed, const Windows& windows, const Tensor& from_flat) const;
  ops::DistributionOf distribution(const Tensor& offset, const Tensor& scale) const;
  void skip_backward(const Windows& windows, const Tensor& dx) const;
  void walk_paths(const Paths& paths, int64_t rows, const Tensor& y) const;
  Forward forward(const Packed& packed, const Windows& windows, const Dropout& dropout, bool keep) const;

  ForecastConfig config_;
  ComputeType compute_type_;
  Device device_;
  Parameters parameters_;
  Encoder encoder_;
  Bridge bridge_;
  Decoder decoder_;
  Linear head_, skip_;
  Tensor levels_;
  mutable PackedCache<Packed> cache_;
};

}  // namespace s2s::model

// Network: the whole encoder-decoder. Loss and gradients of a batch, scores of given targets, search.
#pragma once

#include <atomic>
#include <memory>

#include "model/ctc_head.h"
#include "model/output.h"
#include "model/packed_cache.h"
#include "search/generate.h"

namespace s2s::model {

// What one step of training names its dropout masks by.
struct TrainingStep {
  uint64_t seed = 0;
  uint32_t update = 0;
  const int64_t* example_ids = nullptr;  // [N]; null: the position in the batch
  float sampling = 0.0f;                 // the probability that an input is drawn: scheduled_sampling.h
};

// Every matrix in the layout of the device, for inference.
struct PackedNetwork {
  Encoder::Packed encoder;
  Bridge::Packed bridge;
  Context::Packed context;
  Decoder::Packed decoder;
  Output::Packed output;
  ops::Packed copy_gate;
  ops::Packed ctc;
};

struct DecodeWorkspace;
class ModelStepper;

class Network {
 public:
  // Not trainable: half the memory, and no forward_backward.
  // compute_type: of the packed weights, by which everything but forward_backward multiplies.
  explicit Network(const Config& config, bool trainable = true,
                   ComputeType compute_type = ComputeType::float32, Device device = Device::cpu());
  ~Network();
  // What such a network has, without memory for it.
  static Parameters declared(const Config& config);

  const Config& config() const { return config_; }
  ComputeType compute_type() const { return compute_type_; }
  Device device() const { return device_; }
  const Parameters& parameters() const { return parameters_; }
  const Encoder& encoder() const { return encoder_; }
  const Bridge& bridge() const { return bridge_; }
  const Decoder& decoder() const { return decoder_; }
  const Output& output() const { return output_; }
  const CopyGate& copy_gate() const { return copy_gate_; }
  const CtcHead& ctc() const { return ctc_; }

  // Fills the gradients with those of loss / tokens, dropout on. compute_type: of the plain products; the
  // recurrences and all sums are float32.
  LossSums forward_backward(const Source& source, const Target& target, const TrainingStep& step,
                            float smoothing, ComputeType compute_type = ComputeType::float32);
  LossSums loss(const Source& source, const Target& target, float smoothing) const;
  // -log p of every target token, [sum T] in the caller's order, the host's.
  Tensor score(const Source& source, const Target& target) const;
  SearchResults generate(const Source& source, SearchOptions options) const;
  // Of sources that have been encoded; their lengths, int32 [N], were these.
  SearchResults generate(const Memory& memory, const Tensor& source_lengths, SearchOptions options) const;
  // The same with buffers kept by the caller: once warm, the loop over time allocates nothing.
  SearchResults generate(const Source& source, SearchOptions options, DecodeWorkspace& workspace) const;

  // Completes the options of a search by the network's own tokens, and checks them.
  // source_lengths: int32 [N].
  void prepare(const Tensor& source_lengths, SearchOptions& options) const;

  std::shared_ptr<const PackedNetwork> packed() const;
  // Packs, and gives up the parameters that inference reads in no other form; they can then be neither read
  // nor set. Not while another thread uses the network, and not for one that is trainable.
  void keep_packed_only();
  // Python was given views of the parameters that it may write.
  void watch() { cache_.watch(); }
  void weights_changed() { cache_.drop(); }
  // Not while another thread trains.
  void set_frozen(const std::string& name, bool frozen) { parameters_.set_frozen(name, frozen); }

 private:
  void build();
  SearchResults search_over(ModelStepper& stepper, int64_t sources, const SearchOptions& options,
                            DecodeWorkspace& workspace) const;

  Config config_;
  ComputeType compute_type_;
  Device device_;
  Parameters parameters_;
  Encoder encoder_;
  Bridge bridge_;
  Decoder decoder_;
  Output output_;
  CopyGate copy_gate_;
  CtcHead ctc_;

  mutable PackedCache<PackedNetwork> cache_;
  mutable std::atomic<DecodeWorkspace*> spare_{nullptr};  // of the last generate(), for the next
  std::shared_ptr<const PackedNetwork> packed_only_;      // once nothing else is left
};

}  // namespace s2s::model

// Layer: a recurrent stack over padded arrays [T, N, C], as seq2seq_fast.nn offers it. Inside it is ragged:
// what lies past a sequence's length is neither read nor computed.
#pragma once

#include <atomic>
#include <utility>

#include "model/packed_cache.h"
#include "model/recurrent_stack.h"

namespace s2s::model {

class Layer {
 public:
  Layer(const StackConfig& config, float dropout, ComputeType compute_type, Device device = Device::cpu());

  const StackConfig& config() const { return config_; }
  ComputeType compute_type() const { return compute_type_; }
  Device device() const { return device_; }
  const Parameters& parameters() const { return parameters_; }
  void watch() { cache_.watch(); }
  void weights_changed() { cache_.drop(); }

  struct Output {
    Tensor y;       // [T, N, D * H], zero past each length
    Tensor hn, cn;  // [L * D, N, H] each sequence's own last states; cn undefined for a GRU
  };
  // Kept by forward for one backward.
  struct Saved {
    Ragged ragged{nullptr, 0};
    RowNames names;
    Dropout dropout;
    RecurrentStack::Saved stack;
    int64_t steps = 0, sequences = 0;
    std::atomic_flag used = ATOMIC_FLAG_INIT;
  };

  // Arrays lie on the layer's device, lengths on the host.
  // x [T, N, C]; lengths int32 [N] or undefined; h0, c0 [L * D, N, H] or undefined. With `saved` dropout is
  // on, its masks named by seed and update; the weights must be float32.
  Output forward(const Tensor& x, const Tensor& lengths, const Tensor& h0, const Tensor& c0, uint64_t seed,
                 uint32_t update, Saved* saved) const;

  // Sequences of one length without training, into given arrays of Output's shapes: the caller's arrays are
  // the ragged ones, and warm calls allocate nothing.
  void infer(const Tensor& x, const Tensor& h0, const Tensor& c0, const Output& out) const;
  // The shapes of y and of hn and cn for this x, which is checked.
  std::pair<Shape, Shape> output_shapes(const Tensor& x) const;

  struct Gradient {
    Tensor dx, dh0, dc0;
  };
  // dy [T, N, D * H] or undefined, dhn, dcn [L * D, N, H] or undefined. Sets the gradients of the parameters.
  Gradient backward(Saved& saved, const Tensor& dy, const Tensor& dhn, const Tensor& dcn) const;

 private:
  std::shared_ptr<const RecurrentStack::Packed> packed() const {
    const DeviceScope scope(device_);
    return cache_.get(parameters_, [&] { return stack_.pack(compute_type_); });
  }
  const char* op() const { return config_.cell.kind == CellKind::lstm ? "lstm" : "gru"; }
  void expect_state(const char* name, const Tensor& state, int64_t sequences) const;

  StackConfig config_;
  float dropout_;
  ComputeType compute_type_;
  Device device_;
  Parameters parameters_;
  RecurrentStack stack_;
  mutable PackedCache<RecurrentStack::Packed> cache_;
};

}  // namespace s2s::model

// Copying: the output may be a token of the source, also one that the target vocabulary does not have
// (pointer-generator, See et al. 2017, with their gate computed from the attentional vector as OpenNMT does).
// ops/copy.h has the equations.
#pragma once

#include "model/encoder.h"
#include "model/linear.h"
#include "ops/copy.h"

namespace s2s::model {

// The rows of many steps, or of one, as the output layer sees them.
struct CopyRows {
  ops::Copying source;     // of each row
  Tensor gate;             // [R, 1]
  Tensor mass;             // [R, longest]
  Tensor dgate, dweights;  // of the same shapes, where gradients are wanted

  CopyRows slice(int64_t begin, int64_t count) const;
};

class CopyGate {
 public:
  CopyGate() = default;
  static void declare(Parameters& all, const Config& config);
  CopyGate(const Parameters& all, const Config& config);

  // float32 whatever the other weights are: one column.
  ops::Packed pack() const { return config_.copy_attention ? linear_.pack() : ops::Packed{}; }
  // attentional [R, F], weights [R, longest], example [R] -> the gate and the mass, into `rows` where it has
  // room for them.
  void forward(const ops::Packed& packed, const Memory& memory, const Tensor& example,
               const Tensor& attentional, const Tensor& weights, CopyRows& rows) const;
  // Adds to dattentional and to the gradients of the parameters.
  void backward(const CopyRows& rows, const Tensor& attentional, const Tensor& dattentional) const;

 private:
  Config config_;
  Linear linear_;
};

}  // namespace s2s::model

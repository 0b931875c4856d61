#include "model/copying.h"

#include "model/rows.h"

namespace s2s::model {
namespace {

constexpr const char* kName = "decoder.copy";

}  // namespace

CopyRows CopyRows::slice(int64_t begin, int64_t count) const {
  CopyRows part = *this;
  part.source.example = source.example.rows(begin, count);
  for (Tensor* t : {&part.gate, &part.mass, &part.dgate, &part.dweights}) *t = slice_if(*t, begin, count);
  return part;
}

void CopyGate::declare(Parameters& all, const Config& config) {
  if (config.copy_attention) Linear::declare(all, kName, 1, config.attentional_width());
}

CopyGate::CopyGate(const Parameters& all, const Config& config) : config_(config) {
  if (config.copy_attention) linear_ = Linear(all, kName);
}

void CopyGate::forward(const ops::Packed& packed, const Memory& memory, const Tensor& example,
                       const Tensor& attentional, const Tensor& weights, CopyRows& rows) const {
  rows.source = {memory.copies.ids, memory.copies.first, memory.offsets, example};
  if (!rows.gate.defined()) rows.gate = Tensor::empty({attentional.dim(0), 1});
  if (!rows.mass.defined()) rows.mass = Tensor::empty(weights.shape());
  linear_.forward(packed, attentional, rows.gate);
  ops::copy_mass(rows.source, weights, rows.mass);
}

void CopyGate::backward(const CopyRows& rows, const Tensor& attentional, const Tensor& dattentional) const {
  ops::matmul(rows.dgate, linear_.pack_backward(), dattentional, {.accumulate = true});
  linear_.add_gradients(attentional, rows.dgate);
}

}  // namespace s2s::model

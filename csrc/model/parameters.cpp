#include "model/parameters.h"

#include <cstring>

#include "core/error.h"

namespace s2s::model {

void Parameters::add(const std::string& name, Shape shape, bool decay) {
  constexpr int64_t kAlign = 16;  // floats in 64 bytes
  check("parameters", index_.emplace(name, layout_.size()).second, "Expected names given once, got ", name,
        " twice.");
  layout_.push_back({name, shape, size_, decay, false});
  size_ += (shape.size() + kAlign - 1) / kAlign * kAlign;
}

void Parameters::allocate(bool trainable) {
  if (trainable) {
    values_ = Tensor::zeros({size_});
    gradients_ = Tensor::zeros({size_});
  } else {
    for (const ParameterView& p : layout_) blocks_.push_back(Tensor::zeros(p.shape));
  }
}

size_t Parameters::index_of(const std::string& name) const {
  const auto found = index_.find(name);
  check("parameters", found != index_.end(), "There is no parameter ", name, ".");
  return found->second;
}

Tensor Parameters::value(const std::string& name) const {
  const size_t i = index_of(name);
  if (!trainable()) return blocks_[i];
  return values_.rows(layout_[i].offset, layout_[i].shape.size()).reshape(layout_[i].shape);
}

Tensor Parameters::gradient(const std::string& name) const {
  const ParameterView& p = layout_[index_of(name)];
  return trainable() ? gradients_.rows(p.offset, p.shape.size()).reshape(p.shape) : Tensor();
}

// A hash of all parameters: eight independent multiply-and-add chains, as fast as the memory. On a device the
// number of writes will do, which spares the way to the host.
uint64_t Parameters::fingerprint() const {
  if (!values_.device().is_cpu() && !device_memory_shared()) return device_writes();
  constexpr size_t kChains = 8;
  uint64_t chain[kChains] = {1, 2, 3, 4, 5, 6, 7, 8};
  const Tensor values = values_.to(Device::cpu());
  const auto* bytes = static_cast<const unsigned char*>(values.data());
  const size_t words = static_cast<size_t>(values_.size()) / 2;  // views are padded to 16 floats
  for (size_t i = 0; i + kChains <= words; i += kChains) {
    for (size_t j = 0; j < kChains; ++j) {
      uint64_t word;
      std::memcpy(&word, bytes + 8 * (i + j), 8);
      chain[j] = (chain[j] ^ word) * 0x9E3779B97F4A7C15u;
      chain[j] ^= chain[j] >> 29;
    }
  }
  uint64_t all = 0;
  for (const uint64_t c : chain) all = (all ^ c) * 0xBF58476D1CE4E5B9u + (all >> 31);
  return all;
}

}  // namespace s2s::model

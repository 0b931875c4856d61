// All parameters of a network in one flat float32 buffer, and their gradients in another of the same layout.
// Views start at multiples of 64 bytes; what lies between them is zero and stays zero. What is never trained
// has no gradients, and a block of memory for each parameter, so that some can be given back.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace s2s::model {

struct ParameterView {
  std::string name;
  Shape shape;
  int64_t offset;  // in floats
  bool decay;      // weight decay applies: matrices yes, biases no
  bool frozen;     // not trained: its gradient is 0, and optimisers leave it alone
};

class Parameters {
 public:
  // Registration, before allocate(). Names are given once.
  void add(const std::string& name, Shape shape, bool decay);
  void allocate(bool trainable = true);

  void set_frozen(const std::string& name, bool frozen) { layout_[index_of(name)].frozen = frozen; }
  const std::vector<ParameterView>& layout() const { return layout_; }
  bool trainable() const { return gradients_.defined(); }
  Tensor values() const { return values_; }        // [P]; undefined where not trainable
  Tensor gradients() const { return gradients_; }  // [P]; likewise
  bool has(const std::string& name) const { return index_.count(name) != 0; }
  Tensor value(const std::string& name) const;     // undefined once released
  Tensor gradient(const std::string& name) const;  // undefined where not trainable
  uint64_t fingerprint() const;                    // of the values

  // Not trainable: gives up those parameters that are not to be kept; their memory is free when the last
  // tensor that shares it is gone.
  template <class Keep>
  void release(const Keep& keep) {
    for (size_t i = 0; i < layout_.size(); ++i) {
      if (!keep(layout_[i])) blocks_[i] = Tensor();
    }
  }

 private:
  size_t index_of(const std::string& name) const;

  std::vector<ParameterView> layout_;
  std::map<std::string, size_t> index_;
  int64_t size_ = 0;
  Tensor values_, gradients_;
  std::vector<Tensor> blocks_;  // by layout, where not trainable
};

// A parameter and its gradient.
struct Parameter {
  Tensor value, gradient;
  bool defined() const { return value.defined(); }
};
inline Parameter parameter(const Parameters& all, const std::string& name) {
  return {all.value(name), all.gradient(name)};
}

}  // namespace s2s::model

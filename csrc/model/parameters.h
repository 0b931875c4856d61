// All parameters of a network in one flat float32 buffer, and their gradients in another of the same layout.
// Views start at multiples of 64 bytes; what lies between them is zero and stays zero.
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
};

class Parameters {
 public:
  // Registration, before allocate(). Names are given once.
  void add(const std::string& name, Shape shape, bool decay);
  void allocate();

  const std::vector<ParameterView>& layout() const { return layout_; }
  Tensor values() const { return values_; }        // [P]
  Tensor gradients() const { return gradients_; }  // [P]
  bool has(const std::string& name) const { return index_.count(name) != 0; }
  Tensor value(const std::string& name) const { return view(values_, name); }
  Tensor gradient(const std::string& name) const { return view(gradients_, name); }
  uint64_t fingerprint() const;  // of the values

 private:
  Tensor view(const Tensor& buffer, const std::string& name) const;

  std::vector<ParameterView> layout_;
  std::map<std::string, size_t> index_;
  int64_t size_ = 0;
  Tensor values_, gradients_;
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

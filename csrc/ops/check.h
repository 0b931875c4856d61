// The checks that ops share. Messages name the op and the argument.
#pragma once

#include <initializer_list>

#include "core/error.h"
#include "core/tensor.h"

namespace s2s::ops {

inline void expect_dtype(const char* op, const char* name, const Tensor& t, DType dtype) {
  if (!t.defined()) throw std::invalid_argument(text("[", op, "] Expected ", name, ", got none."));
  if (t.dtype() != dtype) {
    throw type_error(
        text("[", op, "] Expected ", name, " of dtype ", name_of(dtype), ", got ", name_of(t.dtype()), "."));
  }
}

inline void expect(const char* op, const char* name, const Tensor& t, Shape shape, DType dtype = DType::f32) {
  expect_dtype(op, name, t, dtype);
  check(op, t.shape() == shape, "Expected ", name, " of shape ", shape, ", got ", t.shape(), ".");
}

inline void expect_matrix(const char* op, const char* name, const Tensor& t, DType dtype = DType::f32) {
  expect_dtype(op, name, t, dtype);
  check(op, t.shape().rank() == 2, "Expected ", name, " of two dimensions, got shape ", t.shape(), ".");
}

inline void expect_contiguous(const char* op, const char* name, const Tensor& t) {
  check(op, t.contiguous(), "Expected ", name, " to be contiguous.");
}

// Where all of them lie; undefined ones lie anywhere.
inline Device common_device(const char* op, std::initializer_list<const Tensor*> tensors) {
  const Tensor* first = nullptr;
  for (const Tensor* t : tensors) {
    if (!t->defined()) continue;
    if (first == nullptr) first = t;
    check(op, t->device() == first->device(), "Expected all arrays on one device, got some on ",
          first->device(), " and some on ", t->device(), ".");
  }
  return first ? first->device() : Device::cpu();
}

// Every id in [0, limit). Ids that lie on a device are the program's own and were checked before they came
// there.
inline void expect_ids(const char* op, const char* name, const Tensor& ids, int64_t limit) {
  expect_dtype(op, name, ids, DType::i32);
  if (!ids.device().is_cpu()) return;
  const int32_t* id = ids.i32();
  for (int64_t i = 0; i < ids.size(); ++i) {
    check(op, id[i] >= 0 && id[i] < limit, "Expected ", name, " from 0 to ", limit - 1, ", got ", id[i],
          " at position ", i, ".");
  }
}

}  // namespace s2s::ops

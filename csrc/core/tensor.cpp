#include "core/tensor.h"

#include <cstring>
#include <new>

#include "core/error.h"
#include "core/memory.h"

namespace s2s {

int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return 1;
    case DType::i64:
      return 8;
    default:
      return 4;
  }
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    default:
      return "uint8";
  }
}

void Shape::refuse(int rank) {
  throw std::invalid_argument(text("[tensor] Expected at most ", kMaxRank, " dimensions, got ", rank, "."));
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ']';
}

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  int64_t bytes = size_of(dtype);
  for (int i = 0; i < shape.rank(); ++i) {
    check("tensor", shape[i] >= 0, "Expected dimensions of at least 0, got ", shape, ".");
    if (__builtin_mul_overflow(bytes, shape[i], &bytes)) throw std::bad_alloc();
  }
  auto block = allocate(static_cast<size_t>(bytes));
  void* data = block.get();
  return wrap(data, shape, dtype, std::move(block), device);
}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill_zero();
  return t;
}

Tensor Tensor::wrap(void* data, Shape shape, DType dtype, std::shared_ptr<void> owner, Device device) {
  Tensor t;
  t.data_ = data;
  t.shape_ = shape;
  t.row_stride_ = shape.rank() ? shape[-1] : 1;
  t.dtype_ = dtype;
  t.device_ = device;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  int64_t rows_per_item = 1;
  for (int i = 1; i + 1 < shape_.rank(); ++i) rows_per_item *= shape_[i];
  const int64_t item = shape_.rank() == 1 ? 1 : rows_per_item * row_stride_;
  Tensor t = *this;
  t.data_ = static_cast<char*>(data_) + begin * item * size_of(dtype_);
  int64_t dims[Shape::kMaxRank];
  for (int i = 0; i < shape_.rank(); ++i) dims[i] = i ? shape_[i] : count;
  t.shape_ = Shape(dims, shape_.rank());
  if (shape_.rank() == 1) t.row_stride_ = count;
  return t;
}

Tensor Tensor::columns(int64_t begin, int64_t count) const {
  Tensor t = *this;
  t.data_ = static_cast<char*>(data_) + begin * size_of(dtype_);
  t.shape_ = {shape_[0], count};
  return t;
}

Tensor Tensor::reshape(Shape shape) const {
  check("tensor", contiguous() && shape.size() == size(), "Cannot view shape ", shape_, " as ", shape, ".");
  Tensor t = *this;
  t.shape_ = shape;
  t.row_stride_ = shape.rank() ? shape[-1] : 1;
  return t;
}

void Tensor::fill_zero() const {
  check("tensor", contiguous(), "Cannot fill a view of columns.");
  std::memset(data_, 0, static_cast<size_t>(size() * size_of(dtype_)));
}

}  // namespace s2s

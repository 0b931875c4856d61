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
    case DType::bf16:
      return 2;
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
    case DType::bf16:
      return "bfloat16";
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
  auto block = device.is_cpu() ? allocate(static_cast<size_t>(bytes))
                               : device_api(device).allocate(static_cast<size_t>(bytes));
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
  int64_t item = shape_.rank() == 1 ? 1 : row_stride_;
  for (int i = 1; i + 1 < shape_.rank(); ++i) item *= shape_[i];
  Tensor t = *this;
  t.data_ = static_cast<char*>(data_) + begin * item * size_of(dtype_);
  t.set_rows(count);
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
  if (const size_t bytes = this->bytes(); device_.is_cpu()) {
    std::memset(data_, 0, bytes);
  } else {
    device_api(device_).zero(data_, bytes);
  }
}

Tensor Tensor::to(Device device) const {
  if (!defined() || device_ == device) return *this;
  Tensor t = empty(shape_, dtype_, device);
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& other) const {
  check("tensor", contiguous() && other.contiguous() && dtype_ == other.dtype_ && size() == other.size(),
        "Cannot copy shape ", other.shape_, " to shape ", shape_, ".");
  const size_t bytes = this->bytes();
  if (bytes == 0) return;
  if (device_.is_cpu() && other.device_.is_cpu()) {
    std::memcpy(data_, other.data_, bytes);
  } else if (device_ == other.device_) {
    device_api(device_).copy(data_, other.data_, bytes);
  } else if (other.device_.is_cpu()) {
    device_api(device_).copy_in(data_, other.data_, bytes);
  } else if (device_.is_cpu()) {
    device_api(other.device_).copy_out(data_, other.data_, bytes);
  } else {  // between devices by way of the host, which every system can
    copy_from(other.to(Device::cpu()));
  }
}

}  // namespace s2s

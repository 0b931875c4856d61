// Tensor: a typed, row-major array on a device, or a view of one. Copying shares the memory.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>

#include "core/device.h"

namespace s2s {

enum class DType : uint8_t { f32, i32, i64, u8, bf16 };

int64_t size_of(DType dtype);
const char* name_of(DType dtype);

class Shape {
 public:
  static constexpr int kMaxRank = 5;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : Shape(dims.begin(), static_cast<int>(dims.size())) {}
  Shape(const int64_t* dims, int rank) : rank_(rank) {
    if (rank > kMaxRank) refuse(rank);
    for (int i = 0; i < rank; ++i) dims_[i] = dims[i];
  }
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i < 0 ? rank_ + i : i]; }
  int64_t& operator[](int i) { return dims_[i < 0 ? rank_ + i : i]; }
  int64_t size() const {
    int64_t product = 1;
    for (int i = 0; i < rank_; ++i) product *= dims_[i];
    return product;
  }
  bool operator==(const Shape& other) const {
    int64_t difference = rank_ ^ other.rank_;
    for (int i = 0; i < kMaxRank; ++i) difference |= dims_[i] ^ other.dims_[i];
    return difference == 0;
  }

 private:
  [[noreturn]] static void refuse(int rank);
  std::array<int64_t, kMaxRank> dims_{};  // zero past the rank
  int rank_ = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);

class Tensor {
 public:
  Tensor() = default;  // "none": defined() is false
  static Tensor empty(Shape shape, DType dtype = DType::f32, Device device = current_device());
  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = current_device());
  // In the CPU's memory, whatever the current device: what the host computes, such as lengths and indices.
  static Tensor host(Shape shape, DType dtype) { return empty(shape, dtype, Device::cpu()); }
  // A view of memory that `owner` keeps alive.
  static Tensor wrap(void* data, Shape shape, DType dtype, std::shared_ptr<void> owner,
                     Device device = Device::cpu());

  bool defined() const { return data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t size() const { return shape_.size(); }
  size_t bytes() const { return static_cast<size_t>(size() * size_of(dtype_)); }  // of a contiguous tensor
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  // Elements from one row (last dimension) to the next; a view of some columns has more than dim(-1).
  int64_t row_stride() const { return row_stride_; }
  bool contiguous() const { return shape_.rank() == 0 || row_stride_ == shape_[-1]; }

  float* f32() const { return static_cast<float*>(data_); }
  int32_t* i32() const { return static_cast<int32_t*>(data_); }
  int64_t* i64() const { return static_cast<int64_t*>(data_); }
  uint8_t* u8() const { return static_cast<uint8_t*>(data_); }
  void* data() const { return data_; }

  Tensor rows(int64_t begin, int64_t count) const;     // a slice of the first dimension
  Tensor columns(int64_t begin, int64_t count) const;  // a slice of the last dimension of a matrix
  Tensor reshape(Shape shape) const;                   // of a contiguous tensor
  // Another number of rows of the same memory, in place, for a view of a larger buffer from its beginning:
  // the caller knows that they are there.
  void set_rows(int64_t count) {
    shape_[0] = count;
    if (shape_.rank() == 1) row_stride_ = count;
  }
  void fill_zero() const;
  // Contiguous tensors only.
  Tensor to(Device device) const;             // itself where it is there already, or undefined
  void copy_from(const Tensor& other) const;  // of the same size and dtype, on any device

 private:
  void* data_ = nullptr;
  Shape shape_;
  int64_t row_stride_ = 0;
  DType dtype_ = DType::f32;
  Device device_;
  std::shared_ptr<void> owner_;
};

}  // namespace s2s

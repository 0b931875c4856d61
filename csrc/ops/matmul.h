// matmul: c = activation(a b + bias), or of that added to c or to rows of a table.  b is packed once and used
// often. Every element of c is one sum over k, taken in an order that depends on k alone: neither on the
// other rows nor on threads. With int8 weights the rows of a are quantised, each by a scale of its own, and
// the sums are exact integers, equal on every instruction set; a row with NaN or infinity gives NaN.
#pragma once

#include <atomic>
#include <memory>

#include "core/tensor.h"
#include "ops/compute_type.h"

namespace s2s {

enum class Activation : int { none, tanh };

struct PackShape {
  int64_t k, n;
  int64_t gates;  // 0: a plain matrix; G: n = G * H, packed so that the G gates of one unit meet in registers
  ComputeType type = ComputeType::float32;
};

struct PackArgs {
  PackShape shape;
  const float* source;
  int64_t k_stride, n_stride;  // b[k][n] = source[k * k_stride + n * n_stride]
  void* packed;                // packed_bytes(shape)
};

// Rows by index: row m is rows[index[m] * stride ..].
struct RowTable {
  const float* rows;  // null: none
  int64_t stride;
  const int32_t* index;
};

struct MatmulArgs {
  int64_t m, n, k;
  const float* a;  // a[m][k] = a[m * a_row_stride + k * a_k_stride]; one of the strides is 1: on the CPU
                   // a_k_stride, but for float32 and bfloat16_pairs
  const uint16_t* rounded;  // bfloat16_pairs: in the place of a, as RoundArgs has it
  int64_t a_row_stride, a_k_stride;
  ComputeType type;
  const void* b;  // packed, gates = 0
  float* c;       // [m, n] rows c_stride apart
  int64_t c_stride;
  const float* bias;  // [n] or null
  Activation activation;
  bool accumulate;
  RowTable table;     // added to, in the place of c
  float least_bound;  // int8: rows of a are quantised by their largest magnitude, at least this
  int64_t step_rows;  // of every time step of a recurrence that reads c, 0 where none does: threads share
                      // them alike
  void* scratch;      // int8: narrow_bytes(m, k)
};

// Rounds to bfloat16, to nearest, ties to even, denormal numbers to zero.
struct RoundArgs {
  int64_t rows, width;
  const float* x;
  int64_t x_stride;
  uint16_t* out;
  int64_t out_stride;  // a multiple of 32, to which rows are filled up with zeros
};

// Bytes that hold `rows` rows of width k, quantised with their scales or as pairs of bfloat16, on every
// instruction set.
constexpr int64_t narrow_bytes(int64_t rows, int64_t k) {
  return rows * ((k + 63) / 64 * 128 + 64);
}

namespace ops {

// The right-hand side of a product in the backend's own layout.
struct Packed {
  Tensor data;  // bytes
  PackShape shape{0, 0, 0};
  bool defined() const { return data.defined(); }
  // Whether the next of so many walks over it goes downward: each turns round, to begin with what the last
  // one left in the cache. No result depends on it.
  bool turn(int64_t walks) const {
    return turned_->fetch_xor(static_cast<int>(walks & 1), std::memory_order_relaxed) != 0;
  }

 private:
  std::shared_ptr<std::atomic<int>> turned_ = std::make_shared<std::atomic<int>>(0);
};

// What this thread packs matrices as that are given as float32, in plain products: float32, or in a scope
// bfloat16. A training step in bfloat16 rounds what it multiplies, not what it updates.
class ProductScope {
 public:
  explicit ProductScope(ComputeType type);
  ~ProductScope();
  ProductScope(const ProductScope&) = delete;
  ProductScope& operator=(const ProductScope&) = delete;

 private:
  ComputeType before_;
};
// bfloat16 is on the CPU bfloat16_pairs, or float32 where the instruction set has no products of pairs.
ComputeType product_type(Device device, ComputeType type = ComputeType::float32);

Packed pack(const Tensor& b, ComputeType type = ComputeType::float32);  // b [K, N] as it is
// weight [N, K], as PyTorch keeps it: b = weight^T.
Packed pack_transposed(const Tensor& weight, int64_t gates = 0, ComputeType type = ComputeType::float32);

struct MatmulOptions {
  Tensor bias{};
  Activation activation = Activation::none;
  bool accumulate = false;
  // Row m of the product is added to row index[m] of the table (not together with `accumulate`).
  Tensor table{}, index{};
  // The rows of a are states: int8 takes them to lie in [-1, 1], and one that does not by its largest
  // magnitude.
  bool bounded = false;
  // c is what a recurrence reads, so many rows in every time step (0: nothing, or another number in each).
  int64_t step_rows = 0;
};
// What is the left factor of several products of this thread, ready for all of them: rounded to bfloat16
// where they are products of bfloat16_pairs, else itself.
Tensor left_factor(const Tensor& a);
void matmul(const Tensor& a, const Packed& b, const Tensor& c, const MatmulOptions& options = {});
// c (+)= a^T b for a [K, M], b [K, N]: the gradient of a weight matrix, K being the rows of the batch.
void matmul_transposed(const Tensor& a, const Tensor& b, const Tensor& c, bool accumulate);

}  // namespace ops
}  // namespace s2s

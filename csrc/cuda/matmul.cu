// detail/products.h says which of the products below is taken. A block has some columns and up to eight rows,
// or a tile.
#include "cuda/detail/gather.h"
#include "cuda/detail/library.h"
#include "cuda/detail/products.h"
#include "cuda/table.h"
#include "math/exp.h"
#include "ops/matmul.h"

namespace s2s::cuda {
namespace {

// What becomes of a sum.
struct Result {
  float* c;
  int64_t stride;
  const float* bias;
  Activation activation;
  bool accumulate;
  RowTable table;

  __device__ __forceinline__ void add(int64_t row, int64_t column, float value) const {
    float* to = c + row * stride + column;
    if (table.rows)
      value = table.rows[table.index[row] * table.stride + column] + value;
    else if (accumulate)
      value = *to + value;
    *to = bias ? value + bias[column] : value;
  }
  __device__ __forceinline__ void activate(int64_t row, int64_t column) const {
    float* to = c + row * stride + column;
    if (activation == Activation::tanh) *to = math::tanh(*to);
  }
};

template <class Element>
__global__ void __launch_bounds__(kFewThreads, 2)
    multiply_few_rows(Activations a, Weights<Element> b, int block_rows, Result result, bool early) {
  if (!early) simt::wait_for_earlier();
  S2S_DYNAMIC_SHARED(char, shared);
  const int64_t first = int64_t{blockIdx.y} * block_rows;
  FewRows<Element> few(a, b, first, static_cast<int>(min(a.rows - first, int64_t{block_rows})), shared);
  const int columns = few_rows_columns<Element>(a.K);
  const int64_t begin = int64_t{blockIdx.x} * columns, stride = int64_t{gridDim.x} * columns;
  few.ask(begin, b.N);
  if (early) simt::wait_for_earlier();
  few.multiply(begin, b.N, stride, [&](int row, int64_t column, float sum) {
    result.add(first + row, column, sum);
    result.activate(first + row, column);
  });
}

// Tiles of one column lie side by side in the grid: they read the same weights.
template <class Tile, class Element>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    multiply_tile(typename Tile::Left a, Weights<Element> b, Result result) {
  S2S_DYNAMIC_SHARED(char, shared);
  const int64_t row = int64_t{blockIdx.x} * Tile::kRows, column = int64_t{blockIdx.y} * Tile::kColumns;
  Tile::multiply(a, b, row, column, shared,
                 [&](int r, int c, float sum) { result.add(row + r, column + c, sum); });
  if (result.activation == Activation::none) return;
  __syncthreads();  // a loop of its own: unrolled with the sums, an activation would fill the cache of code
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows * Tile::kColumns; i += Tile::kThreads) {
    const int64_t r = row + i / Tile::kColumns, c = column + i % Tile::kColumns;
    if (r < a.rows && c < b.N) result.activate(r, c);
  }
}

constexpr int kFinishThreads = 256;

// What the library does not: bias and activation, in place.
__global__ void __launch_bounds__(kFinishThreads)
    finish_library(int64_t rows, int64_t columns, Result result) {
  result.accumulate = true;  // to the product, which stands in c
  for (int64_t i = int64_t{blockIdx.x} * kFinishThreads + threadIdx.x; i < rows * columns;
       i += int64_t{gridDim.x} * kFinishThreads) {
    result.add(i / columns, i % columns, 0.0f);
    result.activate(i / columns, i % columns);
  }
}

template <class Element>
void few_rows(const Activations& a, const Weights<Element>& b, const Result& result) {
  const int rows = few_rows_of_block(a.rows);
  const int64_t columns = few_rows_columns<Element>(a.K), groups = ceil_div(b.N, columns);
  // Blocks that go on to other columns keep the rows that they have staged.
  const int64_t most = 4 * int64_t{multiprocessors()}, turns = ceil_div(groups, most);
  const dim3 grid(blocks(ceil_div(groups, turns)), blocks(ceil_div(a.rows, rows)));
  launch(
      multiply_few_rows<Element>,
      {.grid = grid, .block = kFewThreads, .shared = few_rows_shared<Element>(rows, a.K), .overlaps = true},
      a, b, rows, result, weights_stand());
}

template <class Tile, class Element>
void tiles(const typename Tile::Left& a, const Weights<Element>& b, const Result& result) {
  const dim3 grid(blocks(ceil_div(a.rows, Tile::kRows)), blocks(ceil_div(b.N, Tile::kColumns)));
  launch(multiply_tile<Tile, Element>, {.grid = grid, .block = Tile::kThreads, .shared = Tile::kShared}, a, b,
         result);
}

// False: the library cannot.
template <class Element>
bool library(const Activations& a, const Weights<Element>& b, const Result& result) {
  const bool done = with_library(a, b, [&](LibraryProduct product) {
    product.c = result.c, product.c_stride = result.stride, product.accumulate = result.accumulate;
    return library_matmul(product);
  });
  if (done && (result.bias || result.activation != Activation::none)) {
    launch(finish_library,
           {.grid = blocks(ceil_div(a.rows * b.N, 4 * kFinishThreads)), .block = kFinishThreads}, a.rows, b.N,
           result);
  }
  return done;
}

template <class Element>
void multiply(const MatmulArgs& x, const Activations& a, Result result) {
  const Weights<Element> b = weights_of<Element>(x.b, x.k, x.n);
  if (x.m <= few_rows_limit(x.type, x.n)) return few_rows(a, b, result);
  if (x.table.rows) {  // a copy costs little beside this product
    gather({x.m, x.n, x.table.rows, x.table.stride, x.table.index, x.c, x.c_stride});
    result.table.rows = nullptr, result.accumulate = true;
  }
  if constexpr (sizeof(Element) > 1) {
    if (wants_library(x.type, x.m, x.n, x.k) && library(a, b, result)) return;
  }
  if constexpr (sizeof(Element) == 4) {
    tiles<Tile<float>>(left_of(a), b, result);
  } else {
    const RoundedRows<Element> rounded(a);
    if constexpr (sizeof(Element) == 1)
      tiles<Tile<int8_t>>(left_of<Tile<int8_t>>(a, rounded), b, result);
    else
      with_tile<Element>(x.m, x.n, LargeTile<Element>::kColumns, [&](auto tile) {
        tiles<decltype(tile)>(left_of<decltype(tile)>(a, rounded), b, result);
      });
  }
}

}  // namespace

void matmul(const MatmulArgs& x) {
  if (x.m == 0 || x.n == 0) return;
  const Activations a{x.a,
                      x.a_row_stride,
                      x.a_k_stride,
                      x.m,
                      static_cast<int>(x.k),
                      x.least_bound,
                      x.a_k_stride == 1 && aligned(x.a, x.a_row_stride)};
  const Result result{x.c, x.c_stride, x.bias, x.activation, x.accumulate, x.table};
  with_element(x.type, [&](auto* element) {
    multiply<std::remove_const_t<std::remove_pointer_t<decltype(element)>>>(x, a, result);
  });
}

}  // namespace s2s::cuda

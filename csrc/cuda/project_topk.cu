// A block has some columns, 64 at a time, and up to eight rows, or a tile (detail/products.h: the same
// product as matmul's, so the same logits, unless cuBLAS makes one of them). Their logits stay in shared
// memory until their record is made (detail/records.h); a second kernel merges the records of each row.
// Large products go to cuBLAS, some rows at a time, and a block makes records of the logits it reads.
#include "cuda/detail/library.h"
#include "cuda/detail/products.h"
#include "cuda/detail/records.h"
#include "cuda/table.h"
#include "ops/project_topk.h"

namespace s2s::cuda {
namespace {

constexpr int kPitchRest = 16;  // record_tile

constexpr int kFewPitch = kRecordColumns + kPitchRest;

template <class Element>
__global__ void __launch_bounds__(kFewThreads, 2)
    few_rows_topk(Activations a, Weights<Element> b, int block_rows, const float* bias, Records records,
                  bool early) {
  if (!early) simt::wait_for_earlier();
  S2S_DYNAMIC_SHARED(char, shared);
  float* logits = reinterpret_cast<float*>(shared);
  const int64_t first = int64_t{blockIdx.y} * block_rows;
  const int rows = static_cast<int>(min(a.rows - first, int64_t{block_rows}));
  FewRows<Element> few(a, b, first, rows, shared + rows * kFewPitch * sizeof(float));
  int64_t tile = blockIdx.x * records.range_tiles;
  const int64_t end = min(tile + records.range_tiles, records.tiles);
  const int stride = few_rows_columns<Element>(a.K);
  const auto end_of = [&](int64_t column) { return min(column + kRecordColumns, b.N); };
  few.ask(tile * kRecordColumns, end_of(tile * kRecordColumns));
  if (early) simt::wait_for_earlier();
  for (; tile < end; ++tile) {
    const int64_t column = tile * kRecordColumns;
    const int width = static_cast<int>(end_of(column) - column);
    few.multiply(column, column + width, stride, [&](int row, int64_t n, float sum) {
      logits[row * kFewPitch + static_cast<int>(n - column)] = bias ? sum + bias[n] : sum;
    });
    if (tile + 1 < end) few.ask(column + kRecordColumns, end_of(column + kRecordColumns));
    __syncthreads();
    record_tile<1>(logits, kFewPitch, rows, width, first, tile, records, lists_of(records, first, tile));
    __syncthreads();
  }
}

template <class Tile, class Element>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    tile_topk(typename Tile::Left a, Weights<Element> b, const float* bias, Records records) {
  constexpr int kPitch = Tile::kColumns + kPitchRest, kTiles = Tile::kColumns / kRecordColumns;
  static_assert(Tile::kRows * kPitch * sizeof(float) <= Tile::kShared &&
                Tile::kColumns % kRecordColumns == 0);
  S2S_DYNAMIC_SHARED(char, shared);
  float* logits = reinterpret_cast<float*>(shared);
  const int64_t first = int64_t{blockIdx.x} * Tile::kRows;
  const int rows = static_cast<int>(min(a.rows - first, int64_t{Tile::kRows}));
  int64_t tile = blockIdx.y * records.range_tiles;
  const int64_t end = min(tile + records.range_tiles, records.tiles);
  for (; tile < end; tile += kTiles) {
    const int64_t column = tile * kRecordColumns;
    Tile::multiply(a, b, first, column, shared, [&](int r, int c, float sum) {
      logits[r * kPitch + c] = bias ? sum + bias[column + c] : sum;
    });
    __syncthreads();
#pragma unroll 1
    for (int t = 0; t < kTiles && tile + t < end; ++t) {
      const int width = static_cast<int>(min(b.N - column - t * kRecordColumns, int64_t{kRecordColumns}));
      record_tile<8>(logits + t * kRecordColumns, kPitch, rows, width, first, tile + t, records,
                     lists_of(records, first, tile + t));
    }
    __syncthreads();
  }
}

// Logits of the library [rows, pitch]; pitch: a multiple of kRecordColumns.
struct Logits {
  const float* data;
  int64_t pitch, N;
  int64_t first, rows;  // which of the product's rows they are
  const float* bias;
  bool vectors;  // a quad of the bias can be loaded at once
};

constexpr int kReadRows = 64, kReadThreads = 256;

// Rows [row, row + rows) and some columns, the bias added -> shared memory; past N anything.
__device__ __forceinline__ void stage_logits(const Logits& from, int64_t row, int rows, int64_t column,
                                             float* to) {
  constexpr int kQuads = kRecordColumns / kQuad;
  const int thread = static_cast<int>(threadIdx.x), c = thread % kQuads * kQuad;
  float4 bias = {};
  if (from.bias && column + c < from.N)
    bias = load_quad(from.bias + column + c, static_cast<int>(min(from.N - column - c, int64_t{kQuad})),
                     from.vectors);
#pragma unroll
  for (int i = 0; i < kReadRows; i += kReadThreads / kQuads) {
    const int r = thread / kQuads + i;
    if (r >= rows) break;
    float4 x = load_quad(from.data + (row + r) * from.pitch + column + c, kQuad, true);
    each([](float& sum, float b) { sum += b; }, x, bias);
    *reinterpret_cast<float4*>(to + r * kFewPitch + c) = x;
  }
}

__global__ void __launch_bounds__(kReadThreads, 3) logits_topk(Logits logits, Records records) {
  S2S_SHARED(float4[kReadRows * kFewPitch / kQuad], staged);
  // The lists, if they fit: they change with nearly every tile.
  S2S_SHARED(Key[kReadRows * kMergedBest], near);
  float* tile_logits = reinterpret_cast<float*>(staged);
  const int64_t row = int64_t{blockIdx.x} * kReadRows;
  const int rows = static_cast<int>(min(logits.rows - row, int64_t{kReadRows}));
  const int64_t begin = blockIdx.y * records.range_tiles,
                end = min(begin + records.range_tiles, records.tiles);
  const Lists kept = lists_of(records, logits.first + row, begin);
  const bool fit = records.length <= kMergedBest;
  const Lists lists = fit ? Lists{near, records.length} : kept;
  for (int64_t tile = begin; tile < end; ++tile) {
    const int64_t column = tile * kRecordColumns;
    stage_logits(logits, row, rows, column, tile_logits);
    __syncthreads();
    const int width = static_cast<int>(min(logits.N - column, int64_t{kRecordColumns}));
    record_tile<8>(tile_logits, kFewPitch, rows, width, logits.first + row, tile, records, lists);
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); fit && i < rows * records.length; i += kReadThreads)
    kept.of(i / records.length)[i % records.length] = near[i];
}

// The records of a product whose blocks have `block_rows` rows and `block_columns` columns at a time, in one
// piece of memory.
struct Memory {
  Records records{};
  Scratch scratch;
  int* heads = nullptr;  // merge_records

  // rows: of one launch. There shall be `at_once` blocks for each multiprocessor.
  Memory(const ProjectTopkArgs& x, int64_t rows, int64_t block_rows, int64_t block_columns, int at_once = 2) {
    Records& r = records;
    r.tiles = ceil_div(x.n, kRecordColumns);
    r.length = static_cast<int>(x.best < kRecordColumns ? x.best : kRecordColumns);
    const int64_t step = block_columns / kRecordColumns, row_blocks = ceil_div(rows, block_rows);
    const int64_t wanted = at_once * int64_t{multiprocessors()}, steps = ceil_div(r.tiles, step);
    r.range_tiles = x.best > kMergedBest ? 1 : step * ceil_div(steps * row_blocks, wanted);
    r.ranges = ceil_div(r.tiles, r.range_tiles);
    const int64_t keys = x.m * r.ranges * r.length, largest = x.m * r.tiles;
    scratch = Scratch(static_cast<size_t>(8 * keys + 2 * 4 * largest + 4 * x.m * r.ranges));
    r.lists = scratch.as<Key>();
    r.largest = reinterpret_cast<float*>(r.lists + keys);
    r.sums = r.largest + largest;
    heads = reinterpret_cast<int*>(r.sums + largest);
  }

  void merge(const ProjectTopkArgs& x) const {
    launch(merge_records, {.grid = blocks(x.m), .block = kMergeThreads, .overlaps = true}, records, heads,
           static_cast<int>(x.best), x.values, x.indices);
  }
};

template <class Element>
void few_rows(const ProjectTopkArgs& x, const Activations& a, const Weights<Element>& b) {
  const int rows = few_rows_of_block(a.rows);
  const Memory memory(x, x.m, rows, kRecordColumns);
  const dim3 grid(blocks(memory.records.ranges), blocks(ceil_div(a.rows, rows)));
  launch(few_rows_topk<Element>,
         {.grid = grid,
          .block = kFewThreads,
          .shared = rows * kFewPitch * sizeof(float) + few_rows_shared<Element>(rows, a.K),
          .overlaps = true},
         a, b, rows, x.bias, memory.records, weights_stand());
  memory.merge(x);
}

template <class Tile, class Element>
void tiles(const ProjectTopkArgs& x, const typename Tile::Left& a, const Weights<Element>& b) {
  const Memory memory(x, x.m, Tile::kRows, Tile::kColumns);
  const dim3 grid(blocks(ceil_div(x.m, Tile::kRows)), blocks(memory.records.ranges));
  launch(tile_topk<Tile, Element>, {.grid = grid, .block = Tile::kThreads, .shared = Tile::kShared}, a, b,
         x.bias, memory.records);
  memory.merge(x);
}

// Logits that are in memory at a time: about what the L2 cache holds, and enough rows for the library.
constexpr int64_t kLogitBytes = int64_t{64} << 20;
constexpr int64_t kLeastRows = 128;  // and their multiples: the library's tiles
constexpr int kReadersAtOnce = 3;    // each waits for its logits

inline int64_t rows_at_once(int64_t M, int64_t pitch) {
  const int64_t fit = kLogitBytes / (pitch * static_cast<int64_t>(sizeof(float)));
  return std::min(M, std::max(fit / kLeastRows, int64_t{1}) * kLeastRows);
}

// False: the library cannot.
template <class Element>
bool library(const ProjectTopkArgs& x, const Activations& a, const Weights<Element>& b) {
  return with_library(a, b, [&](const LibraryProduct& whole) {
    const int64_t pitch = ceil_div(b.N, kRecordColumns) * kRecordColumns, most = rows_at_once(a.rows, pitch);
    const Memory memory(x, most, kReadRows, kRecordColumns, kReadersAtOnce);
    const Scratch logits(static_cast<size_t>(most * pitch) * sizeof(float));
    for (int64_t first = 0; first < a.rows; first += most) {
      const int64_t rows = std::min(most, a.rows - first);
      LibraryProduct product = rows_of<Element>(whole, first, rows);
      product.c = logits.as<float>(), product.c_stride = pitch;
      if (!library_matmul(product)) return false;
      launch(logits_topk,
             {.grid = dim3(blocks(ceil_div(rows, kReadRows)), blocks(memory.records.ranges)),
              .block = kReadThreads},
             Logits{product.c, pitch, b.N, first, rows, x.bias, aligned(x.bias)}, memory.records);
    }
    memory.merge(x);
    return true;
  });
}

template <class Element>
void project(const ProjectTopkArgs& x, const Activations& a) {
  const Weights<Element> b = weights_of<Element>(x.b, x.k, x.n);
  if (x.m <= few_rows_limit(x.type, x.n)) return few_rows(x, a, b);
  if constexpr (sizeof(Element) > 1) {
    if (wants_library(x.type, x.m, x.n, x.k) && library(x, a, b)) return;
  }
  if constexpr (sizeof(Element) == 4) {
    tiles<Tile<float>>(x, left_of(a), b);
  } else {
    const RoundedRows<Element> rounded(a);
    if constexpr (sizeof(Element) == 1) {
      tiles<Tile<int8_t>>(x, left_of<Tile<int8_t>>(a, rounded), b);
    } else {
      const int widest = x.best > kMergedBest ? kRecordColumns : LargeTile<Element>::kColumns;
      with_tile<Element>(x.m, x.n, widest, [&](auto tile) {
        tiles<decltype(tile)>(x, left_of<decltype(tile)>(a, rounded), b);
      });
    }
  }
}

}  // namespace

void project_topk(const ProjectTopkArgs& x) {
  if (x.m == 0) return;
  const Activations a{
      x.a, x.a_row_stride, 1, x.m, static_cast<int>(x.k), x.least_bound, aligned(x.a, x.a_row_stride)};
  with_element(x.type, [&](auto* element) {
    project<std::remove_const_t<std::remove_pointer_t<decltype(element)>>>(x, a);
  });
}

}  // namespace s2s::cuda

// Route "step": one kernel per phase of a step, the product and what becomes of it fused. Works for every
// shape. A block owns some units and streams their weights; blockIdx.y shares tiles of kTileRows sequences.
// Where there are so many sequences that the weights would be read again and again, the library makes the
// product (products.h), and a kernel what becomes of it.
#pragma once

#include "cuda/detail/library.h"
#include "cuda/detail/products.h"
#include "cuda/detail/recurrent_operands.h"
#include "cuda/detail/recurrent_plan.h"

namespace s2s::cuda {

constexpr int kStepThreads = 128;
constexpr int kMostStepUnits = kStepThreads / kTileRows;  // a thread finishes one unit of one sequence

template <class Cell, int PHASE>
struct StepSource {
  using Element = typename Cell::Element;
  using T = OperandOf<Element>;
  static constexpr int kSegments = Cell::kSegments;
  const Cell& cell;
  const T* rows;
  int pitch, first_weight;

  __device__ __forceinline__ int depth(int s) const { return matrix_of<PHASE>(cell, s).depth; }
  __device__ __forceinline__ int offset(int s) const {
    return s > 0 ? static_cast<int>(row_pitch<T>(depth(0))) : 0;
  }
  __device__ __forceinline__ int weight_pitch(int s) const {
    return static_cast<int>(row_pitch<Element>(depth(s)));
  }
  __device__ __forceinline__ const Element* weights(int s, int m) const {
    return packed_rows<Element>(matrix_of<PHASE>(cell, s).packed) +
           int64_t{first_weight + m} * weight_pitch(s);
  }
  __device__ __forceinline__ int operand_pitch() const { return pitch; }
  __device__ __forceinline__ const T* operands(int s) const { return rows + offset(s); }
  __device__ __forceinline__ float scaled(SumOf<Element> sum, int m) const {
    if constexpr (std::is_same_v<Element, int8_t>) {
      const Matrix& matrix = cell.matrix[PHASE][0];
      return static_cast<float>(sum) *
             packed_scales(matrix.packed, matrix.depth, matrix.rows)[first_weight + m];
    } else {
      return sum;
    }
  }
};

// What a phase multiplies, and where it puts the next one's operands: rows of one sequence each.
template <class T>
struct StepOperands {
  const T* from;
  T* to;  // null after the last phase of all
  int from_pitch, to_pitch;
};

// Unit u of sequence i, of whose product `sum` has the gates.
template <int PHASE, class Cell, class T>
__device__ __forceinline__ void finish_unit(const Cell& cell, const StepOperands<T>& operands,
                                            const Step& step, int i, int u, const float* sum,
                                            const typename Cell::Inputs& inputs) {
  const auto put = [&](int run, float value, float inverse) {
    if (operands.to)
      operands.to[int64_t{i} * operands.to_pitch + cell.template put_column<PHASE>(run) + u] =
          operand_of<T>(value, inverse);
  };
  const auto outputs = cell.template finish<PHASE>(step, i, u, sum, inputs, put);
  cell.template keep<PHASE>(step, i, u, inputs, outputs);
}

template <class Cell, int PHASE>
__global__ void __launch_bounds__(kStepThreads, 3)
    recurrent_step(const Cell cell, const StepOperands<OperandOf<typename Cell::Element>> operands,
                   const Step step, const int units) {
  simt::wait_for_earlier();
  constexpr int kGates = Cell::kGates[PHASE];
  S2S_DYNAMIC_SHARED(float, sums);  // [kTileRows][units * kGates]
  const int u0 = static_cast<int>(blockIdx.x) * units, mine = min(units, cell.hidden - u0),
            weights = mine * kGates;
  const int r = static_cast<int>(threadIdx.x) / mine, u = u0 + static_cast<int>(threadIdx.x) % mine;
  const int finished = finished_rows_of<Cell, PHASE>(step), products = product_rows_of<Cell, PHASE>(step);
  for (int first = static_cast<int>(blockIdx.y) * kTileRows; first < finished;
       first += static_cast<int>(gridDim.y) * kTileRows) {
    const int i = first + r;
    const bool finishes = r < kTileRows && i < finished;
    typename Cell::Inputs inputs = {};
    if (finishes) inputs = cell.template load<PHASE>(step, i, u);
    const StepSource<Cell, PHASE> source{cell, operands.from + int64_t{first} * operands.from_pitch,
                                         operands.from_pitch, u0 * kGates};
    if (products > first) tile_product(source, weights, min(kTileRows, products - first), sums);
    __syncthreads();
    if (finishes)
      finish_unit<PHASE>(cell, operands, step, i, u, sums + r * weights + (u - u0) * kGates, inputs);
    __syncthreads();
  }
}

constexpr int kFinishUnits = 256;

template <class Cell, int PHASE>
__global__ void __launch_bounds__(kFinishUnits)
    finish_step(const Cell cell, const StepOperands<OperandOf<typename Cell::Element>> operands,
                const Step step, const float* sums) {
  constexpr int kGates = Cell::kGates[PHASE];
  const int64_t at = int64_t{blockIdx.x} * kFinishUnits + threadIdx.x;
  const int i = static_cast<int>(at / cell.hidden), u = static_cast<int>(at % cell.hidden);
  if (i >= step.rows) return;
  finish_unit<PHASE>(cell, operands, step, i, u, sums + at * kGates, cell.template load<PHASE>(step, i, u));
}

template <class Cell>
constexpr bool kLibraryCell = !Cell::kBackward && Cell::kSegments == 1 && sizeof(typename Cell::Element) > 1;

// Whether so many sequences go to the library.
template <class Cell>
bool asks_library(const Cell& cell, int phase, int rows) {
  if constexpr (kLibraryCell<Cell>) {
    constexpr int kBytes = sizeof(typename Cell::Element);
    const int64_t gates = int64_t{cell.hidden} * Cell::kGates[phase], depth = cell.matrix[phase][0].depth;
    const double products = static_cast<double>(gates) * static_cast<double>(depth);
    return wants_library(ComputeType::float32, rows, gates, depth) &&
           plan::library_phase(rows, products, kBytes) < plan::streamed_phase(rows, products, kBytes) &&
           has_library();
  } else {
    return false;
  }
}

// False: the library cannot, or shall not.
template <int PHASE, class Cell, class T>
bool launch_library_step(const Cell& cell, const StepOperands<T>& operands, const Step& step) {
  if constexpr (!kLibraryCell<Cell>) {
    return false;
  } else {
    using Element = typename Cell::Element;
    if (!asks_library(cell, PHASE, step.rows)) return false;
    const Matrix& matrix = cell.matrix[PHASE][0];
    const int64_t gates = int64_t{cell.hidden} * Cell::kGates[PHASE];
    const Activations states{operands.from,
                             operands.from_pitch,
                             1,
                             step.rows,
                             matrix.depth,
                             0.0f,
                             aligned(operands.from, operands.from_pitch)};
    const Scratch sums(static_cast<size_t>(step.rows * gates) * sizeof(float));
    const auto weights = weights_of<Element>(matrix.packed, matrix.depth, gates);
    const bool made = with_library(states, weights, [&](LibraryProduct product) {
      product.c = sums.as<float>(), product.c_stride = gates;
      return library_matmul(product);
    });
    if (!made) return false;
    launch(finish_step<Cell, PHASE>,
           {.grid = blocks(ceil_div(int64_t{step.rows} * cell.hidden, kFinishUnits)), .block = kFinishUnits},
           cell, operands, step, sums.as<float>());
    return true;
  }
}

template <int PHASE, class Cell, class T>
void launch_step(const Cell& cell, const StepOperands<T>& operands, const Step& step, int processors) {
  constexpr int kGates = Cell::kGates[PHASE];
  const int finished = finished_rows_of<Cell, PHASE>(step);
  if (finished == 0 || launch_library_step<PHASE>(cell, operands, step)) return;
  // A warp streams one weight row where few sequences share it, else four (recurrent_dot.h).
  const int most = kStepThreads / 32 * (finished <= 2 ? 1 : 4) / kGates;
  const int units = most < kMostStepUnits ? most : kMostStepUnits;
  // About two blocks to a processor: more would read the weights more often, for fewer sequences each time.
  const int blocks = (cell.hidden + units - 1) / units, tiles = (finished + kTileRows - 1) / kTileRows;
  const int share = (2 * processors + blocks - 1) / blocks;
  launch(recurrent_step<Cell, PHASE>,
         {.grid = dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(share < tiles ? share : tiles)),
          .block = kStepThreads,
          .shared = sizeof(float) * kTileRows * static_cast<size_t>(units) * kGates,
          .overlaps = true},
         cell, operands, step, units);
}

// walk: on the host. in_place: nothing that the recurrence writes overlaps h0.
template <class Cell>
void run_steps(const Cell& cell, const Walk& walk, const InitialState& from, bool in_place) {
  using T = OperandOf<typename Cell::Element>;
  const int places = places_of<Cell>(walk), processors = multiprocessors();
  const bool hands_on = places * Cell::kPhases > 1;
  // Where all sequences begin at once, and h0 is what a product reads, the first step reads it where it lies.
  const bool direct = !Cell::kBackward && in_place && reads_in_place<T>(from, cell.hidden) &&
                      (walk.offsets == nullptr || !walk.downward);
  const int pitch[2] = {phase_pitch<T>(cell, 0), phase_pitch<T>(cell, Cell::kPhases - 1)};
  const Slots<T> slots(walk.sequences, pitch, hands_on || (!direct && !Cell::kBackward),
                       cell.hidden % kLoad<T> != 0);
  for (int place = 0; place < places; ++place) {
    const Step step = walk.at(place);
    const int even = place * Cell::kPhases % 2;
    if (!Cell::kBackward && !direct && step.before < step.rows)
      place_initial(from, step.before, step.rows, cell.hidden, slots.at(even), slots.pitch(even));
    const auto operands = [&](int slot, bool last) {
      return StepOperands<T>{slots.at(slot), last ? nullptr : slots.at(1 - slot), slots.pitch(slot),
                             slots.pitch(1 - slot)};
    };
    StepOperands<T> first = operands(even, place + 1 == places && Cell::kPhases == 1);
    if constexpr (std::is_same_v<T, float>) {
      if (direct && place == 0) first.from = from.h0;
    }
    launch_step<0>(cell, first, step, processors);
    if constexpr (Cell::kPhases == 2)
      launch_step<1>(cell, operands(1, place + 1 == places), step, processors);
  }
}

}  // namespace s2s::cuda

// What a recurrence is made of, for every route: a Cell says which products a step needs and what becomes of
// them.
//
//   Element, kBackward       the weights' type; whether the walk goes against the recurrence
//   kPhases, kGates[phase]   products of a step, one after the other; weight rows of a unit in each
//   kSegments                pieces of a row along k, each of a matrix of its own
//   hidden, matrix[phase][segment]
//   initial_operand()        what the first phase multiplies where a sequence begins (none if kBackward)
//   load<PHASE>(step, i, u) -> Inputs            what unit u of sequence i needs besides its product
//   kPuts[phase], put_column<PHASE>(run)         a unit's operands of the next phase: number `run` of unit u
//   is
//                                                element put_column(run) + u of a row
//   finish<PHASE>(step, i, u, sum, inputs, put) -> Outputs
//                                                sum[kGates]: the product; put(run, value, inverse)
//   keep<PHASE>(step, i, u, inputs, outputs)     writes what the op gives back, and what the unit needs again
//
// A unit of a sequence is finished by the same thread in every phase and step, or by a later kernel: what no
// other unit reads (c, a GRU's h) rests in the op's own arrays. Operands alternate between two slots: phase q
// of a walk, counted through all steps, multiplies slot q % 2 and puts into the other.
#pragma once

#include "cuda/detail/recurrent_dot.h"
#include "cuda/detail/recurrent_walk.h"

namespace s2s::cuda {

// Packed weights: `rows` rows of width `depth` (detail/layout.h).
struct Matrix {
  const void* packed;
  int depth;
  int rows;
};

// The sequences whose product a phase takes, and those it finishes. Backward, the first product of a step is
// of the gradients that the last step left, and the sequences which end with it are finished by it.
template <class Cell, int PHASE>
__host__ __device__ inline int product_rows_of(const Step& step) {
  return Cell::kBackward && PHASE == 0 ? step.before : step.rows;
}
template <class Cell, int PHASE>
__host__ __device__ inline int finished_rows_of(const Step& step) {
  return Cell::kBackward && PHASE == 0 && step.before > step.rows ? step.before : step.rows;
}

// As constants: device code cannot index an array of them.
template <class Cell, int PHASE>
constexpr int kPutsOf = Cell::kPuts[PHASE];
template <class Cell>
constexpr int kMostPuts =
    kPutsOf<Cell, 0> > kPutsOf<Cell, Cell::kPhases - 1> ? kPutsOf<Cell, 0> : kPutsOf<Cell, Cell::kPhases - 1>;

// The places of a walk: backward, one more for the last step's product.
template <class Cell>
__host__ __device__ inline int places_of(const Walk& walk) {
  return walk.steps + (Cell::kBackward ? 1 : 0);
}

// The matrix of a segment that is known at run time only: an index would put the cell into local memory.
template <int PHASE, class Cell>
__device__ __forceinline__ const Matrix& matrix_of(const Cell& cell, int segment) {
  return segment > 0 ? cell.matrix[PHASE][Cell::kSegments - 1] : cell.matrix[PHASE][0];
}

// Elements from one row to the next, of the operands and of the weights of a phase; each segment begins
// aligned.
template <class T, class Cell>
__host__ __device__ inline int phase_pitch(const Cell& cell, int phase) {
  int64_t pitch = 0;
  for (int s = 0; s < Cell::kSegments; ++s) pitch += row_pitch<T>(cell.matrix[phase][s].depth);
  return static_cast<int>(pitch);
}

// A state as the operand type T of a product. int8: round(127 x / bound), as csrc/cpu/detail/quantize.h does,
// given 127 / bound.
__device__ __forceinline__ float inverse_of(float bound) {
  return bound > 0.0f ? 127.0f / bound : 0.0f;
}
template <class T>
__device__ __forceinline__ T operand_of(float x, float inverse) {
  if constexpr (std::is_same_v<T, int8_t>) {
    // Adding 1.5 * 2^23 rounds to an integer, ties to even, which stands in the low bits.
    const int bits = __float_as_int(__fadd_rn(__fmul_rn(x, inverse), 12582912.0f));
    return static_cast<int8_t>(bits - 0x4b400000);
  } else if constexpr (std::is_same_v<T, Half>) {
    return {__half_as_ushort(__float2half_rn(x))};
  } else if constexpr (std::is_same_v<T, BFloat>) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
  } else {
    return x;
  }
}

}  // namespace s2s::cuda

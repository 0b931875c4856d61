// Routes "grid" and "cluster": all steps in one launch. Each block of a team (recurrent_teams.h) owns some
// units and keeps their weights in shared memory; in each phase it multiplies them with the operands of the
// team's sequences, finishes its units and hands the next operands on. Teams never meet.
#pragma once

#include "cuda/detail/recurrent_teams.h"

namespace s2s::cuda {

constexpr int kPersistentThreads = 256;
constexpr int kFinished = 2;  // units of sequences that a thread finishes in a tile, at most
constexpr int kMostUnits = kFinished * kPersistentThreads / kTileRows;

// A block's shared memory, in bytes from its beginning.
struct SharedLayout {
  int weights[2], scales[2], operands[2];  // of each phase; of each slot
  int sums[2];                             // two tiles, used in turn
  int total;
};
template <class Cell>
SharedLayout shared_layout(const Cell& cell, const TeamShape& team, bool cluster) {
  using Element = typename Cell::Element;
  using T = OperandOf<Element>;
  const int units = (cell.hidden + team.blocks - 1) / team.blocks;
  SharedLayout layout = {};
  int at = 0, most = 0;
  const auto take = [&](int64_t bytes) {
    const int from = at;
    at += static_cast<int>((bytes + kLoadBytes - 1) / kLoadBytes * kLoadBytes);
    return from;
  };
  for (int p = 0; p < Cell::kPhases; ++p) {
    const int rows = units * Cell::kGates[p];
    most = rows > most ? rows : most;
    layout.weights[p] =
        take(int64_t{rows} * phase_pitch<Element>(cell, p) * static_cast<int64_t>(sizeof(Element)));
    layout.scales[p] = take(std::is_same_v<Element, int8_t> ? rows * 4 : 0);
  }
  const int pitch[2] = {slot_pitch(cell, 0), slot_pitch(cell, 1)}, size = static_cast<int>(sizeof(T));
  if (cluster) {
    for (int s = 0; s < 2; ++s) layout.operands[s] = take(int64_t{team.rows} * pitch[s] * size);
  } else {
    layout.operands[0] = layout.operands[1] =
        take(int64_t{team.tile} * (pitch[0] > pitch[1] ? pitch[0] : pitch[1]) * size);
  }
  for (int tile = 0; tile < 2; ++tile) layout.sums[tile] = take(int64_t{team.tile} * most * 4);
  layout.total = at;
  return layout;
}

template <class Cell, int PHASE>
struct SharedSource {
  using Element = typename Cell::Element;
  static constexpr int kSegments = Cell::kSegments;
  const Cell& cell;
  const Element* weight_rows;
  const float* scales;
  const OperandOf<Element>* operand_rows;
  int all_weights, pitch;  // of a row, all segments

  __device__ __forceinline__ int depth(int s) const { return matrix_of<PHASE>(cell, s).depth; }
  __device__ __forceinline__ int weight_pitch(int) const { return all_weights; }
  __device__ __forceinline__ const Element* weights(int s, int m) const {
    return weight_rows + (m * all_weights + (s > 0 ? static_cast<int>(row_pitch<Element>(depth(0))) : 0));
  }
  __device__ __forceinline__ int operand_pitch() const { return pitch; }
  __device__ __forceinline__ const OperandOf<Element>* operands(int s) const {
    return operand_rows + (s > 0 ? static_cast<int>(row_pitch<OperandOf<Element>>(depth(0))) : 0);
  }
  __device__ __forceinline__ float scaled(SumOf<Element> sum, int m) const {
    return std::is_same_v<Element, int8_t> ? static_cast<float>(sum) * scales[m] : static_cast<float>(sum);
  }
};

template <class Cell, class Team>
struct PersistentBlock {
  using Element = typename Cell::Element;
  using T = OperandOf<Element>;
  const Cell& cell;
  const TeamShape& shape;
  const SharedLayout& layout;
  char* shared;
  Team team;
  int u0, units;                        // the block's
  int row[kFinished], unit[kFinished];  // that this thread finishes: in a tile, in the block
  int phases = 0;                       // done
  bool odd_tile = false;

  __device__ PersistentBlock(const Cell& of, const TeamShape& team_shape, const SharedLayout& shared_layout,
                             const TeamOperands<T>& operands, unsigned* flags, char* memory)
      : cell(of),
        shape(team_shape),
        layout(shared_layout),
        shared(memory),
        team(operands, team_shape, flags,
             {reinterpret_cast<T*>(memory + layout.operands[0]),
              reinterpret_cast<T*>(memory + layout.operands[1])}) {
    u0 = static_cast<int>(int64_t{cell.hidden} * team.rank / shape.blocks);
    units = static_cast<int>(int64_t{cell.hidden} * (team.rank + 1) / shape.blocks) - u0;
#pragma unroll
    for (int f = 0; f < kFinished; ++f) {
      const int e = static_cast<int>(threadIdx.x) + f * kPersistentThreads;
      row[f] = units > 0 ? e / units : shape.tile;
      unit[f] = units > 0 ? e % units : 0;
    }
  }

  __device__ void run(const Walk& walk) {
    load_weights<0>();
    if constexpr (Cell::kPhases == 2) load_weights<1>();
    __syncthreads();
    team.begin();
    for (int place = 0; place < places_of<Cell>(walk); ++place) {
      const Step step = walk.at(place);
      phase<0>(step);
      if constexpr (Cell::kPhases == 2) phase<1>(step);
    }
    team.end();
  }

 private:
  template <int PHASE>
  __device__ void load_weights() {
    constexpr int G = Cell::kGates[PHASE];
    const int pitch = phase_pitch<Element>(cell, PHASE);
    Element* to = reinterpret_cast<Element*>(shared + layout.weights[PHASE]);
    for (int s = 0; s < Cell::kSegments; ++s) {
      const Matrix& matrix = matrix_of<PHASE>(cell, s);
      const int width = static_cast<int>(row_pitch<Element>(matrix.depth));
      const Element* from = packed_rows<Element>(matrix.packed) + int64_t{u0} * G * width;
      copy_rows(to, pitch, units * G, width, [&](int r) { return from + int64_t{r} * width; });
      to += width;
    }
    if constexpr (std::is_same_v<Element, int8_t>) {
      const Matrix& matrix = cell.matrix[PHASE][0];
      const float* from = packed_scales(matrix.packed, matrix.depth, matrix.rows) + u0 * G;
      float* scales = reinterpret_cast<float*>(shared + layout.scales[PHASE]);
      for (int m = static_cast<int>(threadIdx.x); m < units * G; m += kPersistentThreads) scales[m] = from[m];
    }
  }

  // All of a phase: tile by tile, products into `sums`, then what becomes of them.
  template <int PHASE>
  __device__ void phase(const Step& step) {
    constexpr int G = Cell::kGates[PHASE];
    const int slot = phases++ % 2;
    const int finished = team.part.count(finished_rows_of<Cell, PHASE>(step));
    const int products = team.part.count(product_rows_of<Cell, PHASE>(step));
    if (finished == 0) return;
    for (int first = 0; first < finished; first += shape.tile) {
      typename Cell::Inputs inputs[kFinished] = {};
#pragma unroll
      for (int f = 0; f < kFinished; ++f) {
        if (finishes(f, first, finished))
          inputs[f] = cell.template load<PHASE>(step, team.part.sequence(first + row[f]), u0 + unit[f]);
      }
      if (first == 0) team.wait();
      float* sum = reinterpret_cast<float*>(shared + (odd_tile ? layout.sums[1] : layout.sums[0]));
      odd_tile = !odd_tile;
      if (products > first) {
        const int rows = min(shape.tile, products - first);
        constexpr bool kInitial = !Cell::kBackward && PHASE == 0;
        const SharedSource<Cell, PHASE> source{
            cell,
            reinterpret_cast<const Element*>(shared + layout.weights[PHASE]),
            reinterpret_cast<const float*>(shared + layout.scales[PHASE]),
            team.template rows<kInitial>(step, slot, first, rows),
            phase_pitch<Element>(cell, PHASE),
            phase_pitch<T>(cell, PHASE)};
        tile_product(source, units * G, rows, sum);
      }
      __syncthreads();
#pragma unroll
      for (int f = 0; f < kFinished; ++f) {
        const int local = first + row[f];
        if (finishes(f, first, finished))
          cell.template finish<PHASE>(step, team.part.sequence(local), u0 + unit[f],
                                      sum + (row[f] * units + unit[f]) * G, inputs[f],
                                      [&](int column, T value) { team.put(1 - slot, local, column, value); });
      }
    }
    team.arrive();
  }

  __device__ __forceinline__ bool finishes(int f, int first, int finished) const {
    return row[f] < shape.tile && first + row[f] < finished;
  }
};

template <class Cell, class Team>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_recurrence(const Cell cell, const Walk walk, const TeamShape shape, const SharedLayout layout,
                          const TeamOperands<OperandOf<typename Cell::Element>> operands, unsigned* flags) {
#if defined(__CUDA_ARCH__)
  constexpr bool kPossible = !Team::kCluster || __CUDA_ARCH__ >= 900;
#else
  constexpr bool kPossible = true;
#endif
  if constexpr (kPossible) {
    S2S_DYNAMIC_SHARED(char, shared);
    PersistentBlock<Cell, Team> block(cell, shape, layout, operands, flags, shared);
    block.run(walk);
  }
}

}  // namespace s2s::cuda

// Routes "grid" and "cluster": all steps in one launch. Each block of a team (recurrent_teams.h) owns some
// units and keeps their weights in shared memory; in each phase it multiplies them with the operands of the
// team's sequences, finishes its units and hands the next operands on. Teams never meet.
#pragma once

#include "cuda/detail/recurrent_teams.h"

namespace s2s::cuda {

constexpr int kFinished = 2;  // units of sequences that a thread finishes in a tile, at most
constexpr int kMostUnits = kFinished * kPersistentThreads / kTileRows;

// Elements from one sequence's operands to the next's, of what a phase multiplies.
template <class Cell>
int team_pitch(const Cell& cell, int phase) {
  using T = TeamOperand<typename Cell::Element>;
  return spread_pitch<T>(phase_pitch<T>(cell, phase));
}

// A block's shared memory, in bytes from its beginning.
struct SharedLayout {
  WeightsLayout matrix[2];                 // of each phase
  int weights[2], scales[2], operands[2];  // of each phase; of each slot
  int own;                                 // of a grid: what the block hands over
  int arrivals;                            // of a cluster
  int sums[2];                             // two tiles, used in turn, of one part or two
  int total;
};
template <class Cell>
SharedLayout shared_layout(const Cell& cell, const TeamShape& team, bool cluster) {
  using Element = typename Cell::Element;
  const int granule = granule_of(sizeof(TeamOperand<Element>), cluster);
  const int units = most_units(cell.hidden, granule, team.blocks);
  SharedLayout layout = {};
  int at = 0, most = 0;
  const auto take = [&](int64_t bytes) {
    const int from = at;
    at += static_cast<int>((bytes + kLoadBytes - 1) / kLoadBytes * kLoadBytes);
    return from;
  };
  layout.matrix[0] = weights_layout<0>(cell, units);
  if constexpr (Cell::kPhases == 2) layout.matrix[1] = weights_layout<1>(cell, units);
  for (int p = 0; p < Cell::kPhases; ++p) {
    const int rows = units * Cell::kGates[p];
    most = rows > most ? rows : most;
    layout.weights[p] = take(layout.matrix[p].elements * static_cast<int64_t>(sizeof(Element)));
    layout.scales[p] = take(std::is_same_v<Element, int8_t> ? rows * 4 : 0);
  }
  const int64_t size = sizeof(TeamOperand<Element>), first = team_pitch(cell, 0) * size,
                second = team_pitch(cell, Cell::kPhases - 1) * size;
  const int64_t rows = cluster ? team.rows : team.tile;
  layout.operands[0] = take(rows * first);
  layout.operands[1] = cluster || Cell::kPhases == 2 ? take(rows * second) : layout.operands[0];
  layout.own = take(cluster ? 0 : int64_t{team.tile} * kMostPuts<Cell> * units * size);
  layout.arrivals = take(cluster ? 2 * sizeof(simt::Arrival) : 0);
  for (int tile = 0; tile < 2; ++tile)
    layout.sums[tile] = take(int64_t{team.tile} * most * 4 * layout.matrix[0].splits);
  layout.total = at;
  return layout;
}

template <class Cell, class Team>
struct PersistentBlock {
  using Element = typename Cell::Element;
  using T = TeamOperand<Element>;
  const Cell& cell;
  const TeamShape& shape;
  const SharedLayout& layout;
  char* shared;
  Team team;
  BlockWeights<Element, 0> first_weights;
  BlockWeights<Element, 1> second_weights;  // where there are two phases
  int row[kFinished], unit[kFinished];      // that this thread finishes: in a tile, in the block
  unsigned phases = 0;                      // done
  bool handed = false;                      // whether the last one handed anything over
  bool odd_tile = false;

  __device__ PersistentBlock(const Cell& of, const TeamShape& team_shape, const SharedLayout& shared_layout,
                             const TeamOperands<T>& operands, char* memory)
      : cell(of),
        shape(team_shape),
        layout(shared_layout),
        shared(memory),
        team(of, operands, team_shape,
             {reinterpret_cast<T*>(memory + layout.operands[0]),
              reinterpret_cast<T*>(memory + layout.operands[1])},
             reinterpret_cast<T*>(memory + layout.own),
             reinterpret_cast<simt::Arrival*>(memory + layout.arrivals)),
        first_weights(layout.matrix[0], reinterpret_cast<Element*>(memory + layout.weights[0])),
        second_weights(layout.matrix[1], reinterpret_cast<Element*>(memory + layout.weights[1])) {
#pragma unroll
    for (int f = 0; f < kFinished; ++f) {
      const int e = static_cast<int>(threadIdx.x) + f * kPersistentThreads;
      row[f] = team.units > 0 ? e / team.units : shape.tile;
      unit[f] = team.units > 0 ? e % team.units : 0;
    }
  }

  __device__ void run(const Walk& walk) {
    load_weights<0>();
    if constexpr (Cell::kPhases == 2) load_weights<1>();
    team.begin();
    // The next step is under way while this one is computed.
    Step step = walk.at(0), next = walk.at(1);
    Count count = {0, 0};
    int old = 0;
    for (int place = 0; place < places_of<Cell>(walk); ++place) {
      const int rows = (count = count_of(step.rows, count)).local;
      const int going_on = Cell::kBackward ? rows : min(rows, count_of(next.rows, count).local);
      if constexpr (Cell::kPhases == 2) {
        phase<0>(step, rows, old, rows);
        phase<1>(step, rows, old, going_on);
      } else {
        phase<0>(step, rows, old, going_on);
      }
      old = rows;
      step = next;
      next = walk.at(place + 2);
    }
    team.end();
  }

 private:
  // Whether a phase's sums may have two parts.
  template <int PHASE>
  static constexpr bool kParts = kOnTensorCores<Element> && PHASE == 0;

  // A number of sequences, and how many of them are the team's: a division, so it is made at changes only.
  struct Count {
    int all, local;
  };
  __device__ __forceinline__ Count count_of(int rows, Count known) const {
    return rows == known.all ? known : Count{rows, team.part.count(rows)};
  }

  template <int PHASE>
  __device__ __forceinline__ auto& weights() {
    if constexpr (PHASE == 0)
      return first_weights;
    else
      return second_weights;
  }

  template <int PHASE>
  __device__ __forceinline__ void load_weights() {
    constexpr int G = Cell::kGates[PHASE], kLast = Cell::kSegments - 1;
    const Matrix &matrix = cell.matrix[PHASE][0], &last = cell.matrix[PHASE][kLast];
    GlobalRows<Element> rows;
    rows.pitch[0] = static_cast<int>(row_pitch<Element>(matrix.depth));
    rows.pitch[1] = static_cast<int>(row_pitch<Element>(last.depth));
    rows.row[0] = packed_rows<Element>(matrix.packed) + int64_t{team.u0} * G * rows.pitch[0];
    rows.row[1] = packed_rows<Element>(last.packed) + int64_t{team.u0} * G * rows.pitch[1];
    weights<PHASE>().load(rows, team.units * G);
    if constexpr (std::is_same_v<Element, int8_t>) {
      const float* from = packed_scales(matrix.packed, matrix.depth, matrix.rows) + team.u0 * G;
      float* scales = reinterpret_cast<float*>(shared + layout.scales[PHASE]);
      for (int m = static_cast<int>(threadIdx.x); m < team.units * G; m += kPersistentThreads)
        scales[m] = from[m];
    }
  }

  // All of a phase, tile by tile: products into `sums`, then what becomes of them. Of the team's sequences
  // `rows` run, `old` of which ran in the step before, and the first `sent` go on.
  template <int PHASE>
  __device__ __forceinline__ void phase(const Step& step, int rows, int old, int sent) {
    constexpr int G = Cell::kGates[PHASE];
    constexpr bool kLeft = Cell::kBackward && PHASE == 0;  // the product is of what the last step left
    constexpr bool kInitial = !Cell::kBackward && PHASE == 0;
    const int finished = kLeft ? max(rows, old) : rows, products = kLeft ? old : rows;
    const int units = team.units, slot = static_cast<int>(phases % 2), part = shape.tile * units * G;
    ++phases;
    for (int first = 0; first < finished; first += shape.tile) {
      typename Cell::Inputs inputs[kFinished] = {};
#pragma unroll
      for (int f = 0; f < kFinished; ++f) {
        if (finishes(f, first, finished))
          inputs[f] = cell.template load<PHASE>(step, team.part.sequence(first + row[f]), team.u0 + unit[f]);
      }
      if (first == 0) {
        team.wait(slot, handed);
        if (sent > 0) team.template expect<PHASE>(1 - slot, sent);
      }
      float* sum = reinterpret_cast<float*>(shared + (odd_tile ? layout.sums[1] : layout.sums[0]));
      odd_tile = !odd_tile;
      if (products > first) {
        const int together = min(shape.tile, products - first);
        const T* operands =
            team.template rows<PHASE>(phases - 1, slot, first, together, kInitial ? old : products);
        weights<PHASE>().multiply(operands, team.pitch(slot), units * G, together,
                                  reinterpret_cast<const float*>(shared + layout.scales[PHASE]), sum, part);
      }
      __syncthreads();
      typename Cell::Outputs outputs[kFinished] = {};
#pragma unroll
      for (int f = 0; f < kFinished; ++f) {
        const int local = first + row[f];
        if (!finishes(f, first, finished)) continue;
        float product[G];
#pragma unroll
        for (int g = 0; g < G; ++g) {
          const float* own = sum + (row[f] * units + unit[f]) * G + g;
          product[g] = kParts<PHASE> && layout.matrix[PHASE].splits == 2 ? own[0] + own[part] : own[0];
        }
        outputs[f] = cell.template finish<PHASE>(
            step, team.part.sequence(local), team.u0 + unit[f], product, inputs[f],
            [&](int run, float value, float inverse) {
              team.template put<PHASE>(1 - slot, row[f], local, run, unit[f], operand_of<T>(value, inverse));
            });
      }
      if (first < sent)
        team.template hand_over<PHASE>(phases, 1 - slot, first, min(shape.tile, sent - first));
      // The others wait for the operands only: what follows need not be seen by them.
#pragma unroll
      for (int f = 0; f < kFinished; ++f) {
        if (finishes(f, first, finished))
          cell.template keep<PHASE>(step, team.part.sequence(first + row[f]), team.u0 + unit[f], inputs[f],
                                    outputs[f]);
      }
    }
    handed = sent > 0;
  }

  __device__ __forceinline__ bool finishes(int f, int first, int finished) const {
    return row[f] < shape.tile && first + row[f] < finished;
  }
};

template <class Cell, class Team>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_recurrence(const Cell cell, const Walk walk, const TeamShape shape, const SharedLayout layout,
                          const TeamOperands<TeamOperand<typename Cell::Element>> operands) {
#if defined(__CUDA_ARCH__)
  constexpr bool kPossible = !Team::kCluster || __CUDA_ARCH__ >= 900;
#else
  constexpr bool kPossible = true;
#endif
  if constexpr (kPossible) {
    S2S_DYNAMIC_SHARED(char, shared);
    PersistentBlock<Cell, Team> block(cell, shape, layout, operands, shared);
    block.run(walk);
  }
}

}  // namespace s2s::cuda

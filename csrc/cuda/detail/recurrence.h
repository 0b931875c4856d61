// Runs a recurrence by the route that recurrent_plan.h chooses; where a persistent kernel does not find the
// whole device free for it, step by step.
#pragma once

#include "cuda/detail/recurrent_persistent.h"
#include "cuda/detail/recurrent_plan.h"
#include "cuda/detail/recurrent_step.h"
#include "ops/lstm.h"

namespace s2s::cuda {

template <class Cell>
RecurrentShape shape_of(const Cell& cell, const Walk& walk) {
  using Element = typename Cell::Element;
  RecurrentShape s = {
      walk.sequences, places_of<Cell>(walk), cell.hidden, Cell::kPhases, sizeof(Element), 0, 0, {}, 0};
  for (int p = 0; p < Cell::kPhases; ++p) {
    s.unit_bytes += Cell::kGates[p] * phase_pitch<Element>(cell, p) * static_cast<int64_t>(sizeof(Element));
    if (std::is_same_v<Element, int8_t>) s.unit_bytes += 4 * Cell::kGates[p];
    for (int i = 0; i < Cell::kSegments; ++i)
      s.multiplications += int64_t{Cell::kGates[p]} * cell.matrix[p][i].depth;
    s.gates = Cell::kGates[p] > s.gates ? Cell::kGates[p] : s.gates;
  }
  for (int slot = 0; slot < 2; ++slot)
    s.operand_bytes[slot] = slot_pitch(cell, slot) * static_cast<int64_t>(sizeof(OperandOf<Element>));
  return s;
}

// Whether the device takes the launch. The last answer is kept: the question costs microseconds.
template <class Cell, class Team>
bool fits(const RecurrentPlan& plan, size_t shared) {
  static thread_local size_t asked = 0;
  static thread_local int asked_blocks = 0, answer = 0;
  if (shared != asked || plan.blocks != asked_blocks) {
    constexpr auto kernel = persistent_recurrence<Cell, Team>;
    answer = Team::kCluster ? max_active_clusters(kernel, {.grid = static_cast<unsigned>(plan.blocks),
                                                           .block = kPersistentThreads,
                                                           .shared = shared,
                                                           .cluster = static_cast<unsigned>(plan.blocks)})
                            : max_active_blocks(kernel, kPersistentThreads, shared);
    asked = shared, asked_blocks = plan.blocks;
  }
  return Team::kCluster ? answer > 0
                        : int64_t{answer} * multiprocessors() >= int64_t{plan.blocks} * plan.teams;
}

template <class Team, class Cell>
bool run_persistent(const Cell& cell, const Walk& walk, const RecurrentPlan& plan, const InitialState& from,
                    bool in_place) {
  const TeamShape team{plan.blocks, plan.teams, (walk.sequences + plan.teams - 1) / plan.teams, plan.tile};
  const SharedLayout layout = shared_layout(cell, team, Team::kCluster);
  const size_t shared = static_cast<size_t>(layout.total);
  if (!fits<Cell, Team>(plan, shared)) return false;
  const int blocks = plan.blocks * plan.teams;
  using T = OperandOf<typename Cell::Element>;
  Scratch offsets;
  Walk on_device = walk;
  if (walk.offsets) on_device.offsets = upload(walk.offsets, walk.steps + 1, offsets);
  const Slots<T> slots(cell, walk.sequences, !Team::kCluster, Team::kCluster ? 0 : blocks);
  TeamOperands<T> operands{nullptr, {slots.at(0), slots.at(1)}, {slots.pitch(0), slots.pitch(1)}};
  Scratch initial;
  if (!Cell::kBackward && in_place && reads_in_place<T>(from, cell.hidden)) {
    if constexpr (std::is_same_v<T, float>) operands.initial = from.h0;
  } else if (!Cell::kBackward) {
    initial = Scratch(static_cast<size_t>(walk.sequences) * static_cast<size_t>(slots.pitch(0)) * sizeof(T));
    place_initial(from, 0, walk.sequences, cell.hidden, initial.template as<T>(), slots.pitch(0));
    operands.initial = initial.template as<T>();
  }
  launch(persistent_recurrence<Cell, Team>,
         {.grid = static_cast<unsigned>(blocks),
          .block = kPersistentThreads,
          .shared = shared,
          .cluster = Team::kCluster ? static_cast<unsigned>(plan.blocks) : 1u,
          .cooperative = !Team::kCluster},
         cell, on_device, team, layout, operands, slots.flags());
  return true;
}

// in_place: nothing that the recurrence writes overlaps h0.
template <class Cell>
void run_recurrence(const Cell& cell, const SequenceShape& s, const InitialState& from, bool in_place) {
  const int64_t sequences = s.steps > 0 ? s.batch_sizes[0] : 0;
  if (sequences == 0 || cell.hidden == 0) return;
  const bool uniform = s.batch_sizes[s.steps - 1] == sequences;
  const Walk walk{uniform ? nullptr : s.offsets, static_cast<int>(sequences), static_cast<int>(s.steps),
                  s.reverse != Cell::kBackward};
  const Chip chip{multiprocessors(), max_shared_per_block(), compute_capability()};
  const RecurrentPlan plan = plan_recurrence(shape_of(cell, walk), chip, recurrent_choice());
  if (plan.route == Route::grid && run_persistent<GridTeam<Cell>>(cell, walk, plan, from, in_place)) return;
  if (plan.route == Route::cluster && run_persistent<ClusterTeam<Cell>>(cell, walk, plan, from, in_place))
    return;
  run_steps(cell, walk, from, in_place);
}

}  // namespace s2s::cuda

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
      walk.sequences, places_of<Cell>(walk), cell.hidden, Cell::kPhases, sizeof(Element), 0, {}};
  for (int p = 0; p < Cell::kPhases; ++p) {
    const int depth = phase_pitch<Element>(cell, p);
    s.phase[p] = {Cell::kGates[p], depth, spread_pitch<Element>(depth) * static_cast<int>(sizeof(Element)),
                  team_pitch(cell, p) * static_cast<int>(sizeof(TeamOperand<Element>)),
                  (p == 0 ? kHeldGroups<Element, 0> : 0) * kPersistentWarps * kGroupRows<Element>};
    s.unit_bytes += static_cast<int64_t>(Cell::kGates[p]) * depth * static_cast<int64_t>(sizeof(Element));
    s.library = s.library || asks_library(cell, p, walk.sequences);
  }
  return s;
}

// Whether the device takes the launch. The last answer is kept: the question costs microseconds.
template <class Cell, class Team>
bool fits(const RecurrentPlan& plan, const Chip& chip, size_t shared) {
  struct Question {
    size_t shared;
    int blocks, multiprocessors, capability;
    bool operator==(const Question&) const = default;
  };
  static thread_local Question asked = {};
  static thread_local int answer = 0;
  const Question question = {shared, plan.blocks, chip.multiprocessors, chip.capability};
  const bool cluster = Team::kCluster && plan.blocks > 1;
  if (asked != question) {
    constexpr auto kernel = persistent_recurrence<Cell, Team>;
    const unsigned blocks = static_cast<unsigned>(plan.blocks);
    answer = cluster ? max_active_clusters(
                           kernel,
                           {.grid = blocks, .block = kPersistentThreads, .shared = shared, .cluster = blocks})
                     : max_active_blocks(kernel, kPersistentThreads, shared);
    asked = question;
  }
  // Clusters come one after the other if need be; the teams of a grid are there together.
  return Team::kCluster ? answer > 0
                        : int64_t{answer} * chip.multiprocessors >= int64_t{plan.blocks} * plan.teams;
}

// A grid's slots, with words that are for no phase.
template <class T>
Scratch clear_words_of(TeamOperands<T>& operands, int sequences) {
  int64_t words[2];
  for (int s = 0; s < 2; ++s) {
    operands.word_pitch[s] = operands.pitch[s] * static_cast<int>(sizeof(T)) / kWordBytes;
    words[s] = int64_t{sequences} * operands.word_pitch[s];
  }
  Scratch memory(static_cast<size_t>(words[0] + words[1]) * sizeof(uint64_t));
  clear(memory.as<void>(), (words[0] + words[1]) * static_cast<int64_t>(sizeof(uint64_t)));
  operands.words[0] = memory.as<uint64_t>();
  operands.words[1] = operands.words[0] + words[0];
  return memory;
}

template <class Team, class Cell>
bool run_persistent(const Cell& cell, const Walk& walk, const RecurrentPlan& plan, const Chip& chip,
                    const InitialState& from, bool in_place) {
  const TeamShape team{plan.blocks, plan.teams, (walk.sequences + plan.teams - 1) / plan.teams, plan.tile};
  const SharedLayout layout = shared_layout(cell, team, Team::kCluster);
  const size_t shared = static_cast<size_t>(layout.total);
  if (!fits<Cell, Team>(plan, chip, shared)) return false;
  const int blocks = plan.blocks * plan.teams;
  using T = TeamOperand<typename Cell::Element>;
  Scratch offsets;
  Walk on_device = walk;
  if (walk.offsets) on_device.offsets = upload(walk.offsets, walk.steps + 1, offsets);
  const int pitch[2] = {team_pitch(cell, 0), team_pitch(cell, Cell::kPhases - 1)};
  TeamOperands<T> operands{nullptr, {pitch[0], pitch[1]}, {}, {}};
  Scratch words;
  if (!Team::kCluster) words = clear_words_of(operands, walk.sequences);
  Scratch initial;
  if (!Cell::kBackward && in_place && reads_in_place<T>(from, cell.hidden)) {
    if constexpr (std::is_same_v<T, float>) operands.initial = from.h0;
  } else if (!Cell::kBackward) {
    initial = Scratch(static_cast<size_t>(walk.sequences) * static_cast<size_t>(pitch[0]) * sizeof(T));
    place_initial(from, 0, walk.sequences, cell.hidden, initial.template as<T>(), pitch[0]);
    operands.initial = initial.template as<T>();
  }
  launch(persistent_recurrence<Cell, Team>,
         {.grid = static_cast<unsigned>(blocks),
          .block = kPersistentThreads,
          .shared = shared,
          .cluster = Team::kCluster ? static_cast<unsigned>(plan.blocks) : 1u,
          .cooperative = !Team::kCluster},
         cell, on_device, team, layout, operands);
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
  if (plan.route == Route::grid && run_persistent<GridTeam<Cell>>(cell, walk, plan, chip, from, in_place))
    return;
  if (plan.route == Route::cluster &&
      run_persistent<ClusterTeam<Cell>>(cell, walk, plan, chip, from, in_place))
    return;
  run_steps(cell, walk, from, in_place);
}

}  // namespace s2s::cuda

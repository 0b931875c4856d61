// What the cost model of the recurrences (csrc/cuda/detail/recurrent_plan.h) chooses on this device, and the
// microseconds that it predicts, for benchmarks/gpu to put beside what was measured.
#include "cuda/detail/gru_cell.h"
#include "cuda/detail/lstm_cell.h"
#include "cuda/detail/recurrence.h"
#include "entry.h"

namespace s2s::cuda {
namespace {

template <class Cell, int GATES>
RecurrentPlan plan_of(int hidden, int sequences, int steps) {
  Cell cell{};
  cell.hidden = hidden;
  cell.matrix[0][0] = {nullptr, hidden, GATES * hidden};
  const Walk walk{nullptr, sequences, steps, false};
  const Chip chip{multiprocessors(), max_shared_per_block(), compute_capability()};
  return plan_recurrence(shape_of(cell, walk), chip, recurrent_choice());
}

}  // namespace

// One layer and direction, forward in inference, equal lengths; S2S_CUDA_RECURRENCE is heeded.
// plan: the route (0 step, 1 grid, 2 cluster), blocks of a team, teams, sequences of a tile.
S2S_ENTRY const char* s2s_plan(int gru, int type, int hidden, int sequences, int steps, int* plan,
                               double* microseconds) {
  return guarded([&] {
    with_element(static_cast<ComputeType>(type), [&](auto* element) {
      using Element = std::remove_const_t<std::remove_pointer_t<decltype(element)>>;
      const RecurrentPlan p = gru ? plan_of<GruAfterCell<Element, false>, 3>(hidden, sequences, steps)
                                  : plan_of<LstmCell<Element, false>, 4>(hidden, sequences, steps);
      plan[0] = static_cast<int>(p.route);
      plan[1] = p.blocks;
      plan[2] = p.teams;
      plan[3] = p.tile;
      *microseconds = p.microseconds;
    });
  });
}

}  // namespace s2s::cuda

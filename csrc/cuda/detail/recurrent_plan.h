// Which route a recurrence takes: a small model of what each costs, a function of the shape and the device
// alone. Its constants are predictions, taken from NVIDIA's figures for an H100 and from published latencies;
// no GPU has measured them yet. S2S_CUDA_RECURRENCE=step|grid|cluster overrides the choice where the route
// fits; "grid:8x2": teams of 8 blocks, 2 of them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace s2s::cuda {

enum class Route { step, grid, cluster };

struct RecurrentShape {
  int rows, places, hidden, phases;
  int element_bytes;         // of the weights; 4, 2 or 1
  int64_t unit_bytes;        // of one unit's weights, all phases
  int64_t multiplications;   // of one unit of one sequence and step
  int64_t operand_bytes[2];  // of one sequence, in each slot
  int gates;                 // weight rows of a unit, at most
};

struct Chip {
  int multiprocessors, shared_per_block, capability;
};

struct RecurrentPlan {
  Route route = Route::step;
  int blocks = 1, teams = 1, tile = 1;
  double microseconds = 0;
};

// What S2S_CUDA_RECURRENCE asks for.
struct RecurrentChoice {
  bool any_route = true;
  Route route = Route::step;
  int blocks = 0, teams = 0;  // 0: as the model says
};

namespace plan {

// --- predicted, in microseconds and bytes per microsecond
constexpr double kCycles = 1755;               // of a microsecond
constexpr double kLaunch = 2.5;                // from one kernel of a stream to the next
constexpr double kPersistentLaunch = 6;        // with the flags' and the initial operands' kernel
constexpr double kStepBytes = 3e6;             // weights from the L2 cache, all processors
constexpr double kLoadBytesEach = 3e4;         // weights into one block's shared memory, at the start
constexpr double kGridBarrier = 0.9;           // flags, and the first load after them
constexpr double kBroadcastBytes = 5.5e6;      // operands from the L2 cache, all processors
constexpr double kClusterBarrier = 0.25;       // and the latency of a remote write
constexpr double kRemoteBytes = 32 * kCycles;  // operands that one block receives
constexpr double kFinish = 0.1;                // gates
constexpr int kSharedSpare = 1024;             // of a block, the runtime's

constexpr int kMostUnits = 64, kTile = 8;

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// One block's products of a step: shared memory is read, or float32 multiplied, whichever is slower. A warp
// reads four weight rows and the operands once for up to eight sequences.
inline double products(const RecurrentShape& s, int64_t units, int64_t rows) {
  const double tiles = static_cast<double>(ceil_div(rows, kTile)),
               each = static_cast<double>(s.multiplications);
  const double weight_reads = tiles * static_cast<double>(units * s.unit_bytes) / 128;
  const double operand_reads =
      static_cast<double>(units * rows) * each / 4 * (s.element_bytes == 1 ? 1 : 4) / 128;
  const double padded = rows > kTile ? tiles * kTile
                        : rows > 4   ? 8
                        : rows > 2   ? 4
                                     : static_cast<double>(rows);
  const double lanes = s.element_bytes == 1 ? 256 : 128;  // of __dp4a four multiplications, at half the rate
  const double widen = s.element_bytes == 2 ? tiles : 0;
  const double arithmetic = static_cast<double>(units) * each * (padded + widen) / lanes;
  const double slower = weight_reads + operand_reads > arithmetic ? weight_reads + operand_reads : arithmetic;
  return (slower + 150 * tiles) / kCycles;  // the lanes' sums, and the way in and out
}

inline int64_t shared_bytes(const RecurrentShape& s, int64_t units, int64_t operand_rows, int64_t tile,
                            bool cluster) {
  const int64_t both = s.operand_bytes[0] + s.operand_bytes[1];
  const int64_t most = s.operand_bytes[0] > s.operand_bytes[1] ? s.operand_bytes[0] : s.operand_bytes[1];
  return units * s.unit_bytes + operand_rows * (cluster ? both : most) + 2 * tile * units * s.gates * 4 + 256;
}

inline double step_cost(const RecurrentShape& s, const Chip& chip) {
  const double weights = static_cast<double>(s.hidden * s.unit_bytes);
  const double work = static_cast<double>(s.hidden) * static_cast<double>(s.multiplications) * s.rows;
  const double compute = work / (chip.multiprocessors * 64.0 * kCycles), read = weights / kStepBytes;
  return s.places * (s.phases * kLaunch + (compute > read ? compute : read));
}

// Teams of `blocks`; 0 teams: they do not fit.
inline RecurrentPlan grid_plan(const RecurrentShape& s, const Chip& chip, int blocks, int teams) {
  RecurrentPlan none{Route::grid, blocks, 0};
  const int64_t units = ceil_div(s.hidden, blocks), rows = ceil_div(s.rows, teams);
  if (units > kMostUnits || teams > s.rows || int64_t{blocks} * teams > chip.multiprocessors) return none;
  for (int tile = kTile; tile > 0; tile /= 2) {
    if (tile > 1 && tile / 2 >= rows) continue;
    if (shared_bytes(s, units, tile, tile, false) > chip.shared_per_block - kSharedSpare) continue;
    const double operands =
        static_cast<double>((s.operand_bytes[0] + (s.phases == 2 ? s.operand_bytes[1] : 0)) * rows);
    const double hand_over = s.phases * kGridBarrier + operands * blocks * teams / kBroadcastBytes;
    const double each =
        hand_over + products(s, units, rows) + s.phases * kFinish * static_cast<double>(ceil_div(rows, tile));
    const double load = static_cast<double>(units * s.unit_bytes) / kLoadBytesEach;
    return {Route::grid, blocks, teams, tile, kPersistentLaunch + load + s.places * each};
  }
  return none;
}

inline RecurrentPlan cluster_plan(const RecurrentShape& s, const Chip& chip, int blocks, int teams) {
  RecurrentPlan none{Route::cluster, blocks, 0};
  const int64_t units = ceil_div(s.hidden, blocks), rows = ceil_div(s.rows, teams);
  const int tile = rows > 4 ? 8 : rows > 2 ? 4 : static_cast<int>(rows);
  if (chip.capability < 90 || units > kMostUnits || teams > s.rows || blocks > chip.multiprocessors)
    return none;
  if (shared_bytes(s, units, rows, tile, true) > chip.shared_per_block - kSharedSpare) return none;
  const double waves = static_cast<double>(ceil_div(teams, chip.multiprocessors / blocks));
  const double operands =
      static_cast<double>((s.operand_bytes[0] + (s.phases == 2 ? s.operand_bytes[1] : 0)) * rows);
  const double hand_over =
      blocks == 1 ? 0.05 * s.phases : s.phases * kClusterBarrier + operands / kRemoteBytes;
  const double each =
      hand_over + products(s, units, rows) + s.phases * kFinish * static_cast<double>(ceil_div(rows, tile));
  const double load = static_cast<double>(units * s.unit_bytes) / kLoadBytesEach;
  return {Route::cluster, blocks, teams, tile, kPersistentLaunch + waves * (load + s.places * each)};
}

inline void keep_better(RecurrentPlan& best, const RecurrentPlan& other) {
  if (other.teams > 0 && (best.teams == 0 || other.microseconds < best.microseconds)) best = other;
}

}  // namespace plan

// The best plan of one route; 0 teams where none fits. `choice` fixes what it names.
inline RecurrentPlan plan_route(const RecurrentShape& s, const Chip& chip, Route route,
                                const RecurrentChoice& choice = {}) {
  RecurrentPlan best{route, 0, 0};
  if (route == Route::step) return {route, 1, 1, plan::kTile, plan::step_cost(s, chip)};
  if (route == Route::grid) {
    for (int teams = 1; teams <= chip.multiprocessors && teams <= s.rows; ++teams) {
      const int most = chip.multiprocessors / teams < s.hidden ? chip.multiprocessors / teams : s.hidden;
      if (choice.teams > 0 && teams != choice.teams) continue;
      for (int blocks = most; blocks > 0; blocks = blocks > 8 ? blocks * 3 / 4 : blocks - 1)
        if (choice.blocks == 0) plan::keep_better(best, plan::grid_plan(s, chip, blocks, teams));
      if (choice.blocks > 0) plan::keep_better(best, plan::grid_plan(s, chip, choice.blocks, teams));
    }
    return best;
  }
  for (int blocks = 1; blocks <= 16; blocks *= 2) {
    if (choice.blocks > 0 && blocks != choice.blocks) continue;
    for (int rows = 1;; rows = rows < plan::kTile ? 2 * rows : rows + plan::kTile) {  // of a team
      const int teams = choice.teams > 0 ? choice.teams : static_cast<int>(plan::ceil_div(s.rows, rows));
      plan::keep_better(best, plan::cluster_plan(s, chip, blocks, teams));
      if (teams == 1 || choice.teams > 0) break;
    }
  }
  return best;
}

inline RecurrentPlan plan_recurrence(const RecurrentShape& s, const Chip& chip,
                                     const RecurrentChoice& choice = {}) {
  RecurrentPlan best = plan_route(s, chip, Route::step);
  for (const Route route : {Route::grid, Route::cluster}) {
    if (choice.any_route) plan::keep_better(best, plan_route(s, chip, route));
  }
  if (!choice.any_route) {
    const RecurrentPlan chosen = plan_route(s, chip, choice.route, choice);
    if (chosen.teams > 0) return chosen;
  }
  return best;
}

inline RecurrentChoice recurrent_choice() {
  RecurrentChoice choice;
  const char* text = std::getenv("S2S_CUDA_RECURRENCE");
  if (text == nullptr || *text == 0) return choice;
  const char* const names[] = {"step", "grid", "cluster"};
  const size_t length = std::strcspn(text, ":");
  for (int route = 0; route < 3; ++route) {
    if (length != std::strlen(names[route]) || std::strncmp(text, names[route], length) != 0) continue;
    choice.any_route = false;
    choice.route = static_cast<Route>(route);
    std::sscanf(text + length, ":%dx%d", &choice.blocks, &choice.teams);
  }
  return choice;
}

}  // namespace s2s::cuda

// Which route a recurrence takes: a small model of what each costs, a function of the shape and the device
// alone. Its constants are predictions, taken from NVIDIA's figures for an H100 and from published latencies;
// no GPU has measured them yet. S2S_CUDA_RECURRENCE=step|grid|cluster overrides the choice where the route
// fits; "grid:8x2": teams of 8 blocks, 2 of them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace s2s::cuda {

enum class Route { step, grid, cluster };

struct RecurrentPhase {
  int gates;          // weight rows of a unit
  int depth;          // elements of a row
  int row_bytes;      // in shared memory
  int operand_bytes;  // of one sequence, there
  int held;           // rows of which a block holds the first kHeldDepth elements in registers
};
struct RecurrentShape {
  int rows, places, hidden, phases;
  int element_bytes;   // of the weights; 4, 2 or 1
  int64_t unit_bytes;  // of one unit's weights, all phases
  RecurrentPhase phase[2];
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
constexpr double kMmaRate =
    16 * 16 / 6.4 * 4;             // weights that tensor cores multiply by a tile's rows, a cycle
constexpr int kSharedSpare = 512;  // what rounding up may take

constexpr int kMostUnits = 64, kTile = 8, kHeldDepth = 512;  // of recurrent_persistent.h, recurrent_weights.h

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Hidden units of a block, at most: it has whole granules of them (recurrent_teams.h).
inline int64_t units_of(const RecurrentShape& s, int64_t blocks, bool cluster) {
  const int64_t bytes = cluster ? 16 : 4, granule = bytes > s.element_bytes ? bytes / s.element_bytes : 1;
  return ceil_div(ceil_div(s.hidden, granule), blocks) * granule;
}

// Warps that share a group of weight rows (recurrent_weights.h, WeightsLayout).
inline int64_t splits(const RecurrentShape& s, const RecurrentPhase& p, int64_t units) {
  return s.element_bytes == 2 && units * p.gates <= p.held / 2 ? 2 : 1;
}

// Bytes of a phase's weights that stay in a block's shared memory, the others being in registers.
inline int64_t shared_weights(const RecurrentShape& s, const RecurrentPhase& p, int64_t units) {
  const int64_t rows = units * p.gates, held = rows < p.held ? rows : p.held;
  const int64_t tail = p.row_bytes - kHeldDepth * splits(s, p, units) * s.element_bytes;
  return held * (tail > 0 ? tail + 128 : 0) + (rows - held) * p.row_bytes;
}

inline int64_t shared_bytes(const RecurrentShape& s, int64_t units, int64_t operand_rows, int64_t tile,
                            bool cluster) {
  const RecurrentPhase &first = s.phase[0], &last = s.phase[s.phases - 1];
  const int64_t operands = operand_rows * (cluster || s.phases == 2 ? first.operand_bytes + last.operand_bytes
                                                                    : first.operand_bytes);
  const int64_t handed = cluster ? 16 : tile * units * 4 * s.element_bytes;  // four of a unit, at most
  const int64_t gates = first.gates > last.gates ? first.gates : last.gates;
  int64_t bytes = operands + handed + 2 * tile * units * gates * 4 * splits(s, first, units);
  for (int p = 0; p < s.phases; ++p)
    bytes += shared_weights(s, s.phase[p], units) + (s.element_bytes == 1 ? units * s.phase[p].gates * 4 : 0);
  return bytes;
}

// One block's products of a step: what it reads from shared memory, or its arithmetic, whichever is slower.
// Operands are read again for every four weight rows, or sixteen by tensor cores.
inline double products(const RecurrentShape& s, int64_t units, int64_t rows) {
  const double tiles = static_cast<double>(ceil_div(rows, kTile));
  const double padded = rows > kTile ? tiles * kTile : rows > 4 ? 8 : rows > 1 ? 4 : 1;
  double cycles = 150 * tiles * s.phases;  // the lanes' sums, and the way in and out
  for (int i = 0; i < s.phases; ++i) {
    const RecurrentPhase& p = s.phase[i];
    const double products = static_cast<double>(units * p.gates) * p.depth;
    const double weights = tiles * static_cast<double>(shared_weights(s, p, units));
    const double together = s.element_bytes == 2 ? 16 : 4,
                 read_rows = s.element_bytes == 2 ? 8 * tiles : padded;
    const double operands = products * read_rows / together * (s.element_bytes == 4 ? 4 : s.element_bytes);
    const double arithmetic = s.element_bytes == 2   ? products * tiles / kMmaRate
                              : s.element_bytes == 1 ? products * padded / 256
                                                     : products * padded / 128;
    const double read = (weights + operands) / 128;
    cycles += read > arithmetic ? read : arithmetic;
  }
  return cycles / kCycles;
}

inline double step_cost(const RecurrentShape& s, const Chip& chip) {
  const double weights = static_cast<double>(s.hidden * s.unit_bytes),
               tiles = static_cast<double>(ceil_div(s.rows, kTile));
  const double rows = s.rows > kTile ? tiles * kTile : s.rows;
  const double work = weights / s.element_bytes * rows;
  const double compute = work / (chip.multiprocessors * 64.0 * kCycles), read = weights / kStepBytes;
  return s.places * (s.phases * kLaunch + (compute > read ? compute : read));
}

// Bytes of operands that every block of a team receives in a step.
inline double handed_bytes(const RecurrentShape& s, int64_t rows) {
  int64_t bytes = 0;
  for (int p = 0; p < s.phases; ++p) bytes += s.phase[p].operand_bytes * rows;
  return static_cast<double>(bytes);
}

// Teams of `blocks`; 0 teams: they do not fit.
inline RecurrentPlan grid_plan(const RecurrentShape& s, const Chip& chip, int blocks, int teams) {
  RecurrentPlan none{Route::grid, blocks, 0};
  const int64_t units = units_of(s, blocks, false), rows = ceil_div(s.rows, teams);
  if (units > kMostUnits || teams > s.rows || int64_t{blocks} * teams > chip.multiprocessors) return none;
  for (int tile = kTile; tile > 0; tile /= 2) {
    if (tile > 1 && tile / 2 >= rows) continue;
    if (shared_bytes(s, units, tile, tile, false) > chip.shared_per_block - kSharedSpare) continue;
    const double hand_over =
        s.phases * kGridBarrier + handed_bytes(s, rows) * blocks * teams / kBroadcastBytes;
    const double each =
        hand_over + products(s, units, rows) + s.phases * kFinish * static_cast<double>(ceil_div(rows, tile));
    const double load = static_cast<double>(units * s.unit_bytes) / kLoadBytesEach;
    return {Route::grid, blocks, teams, tile, kPersistentLaunch + load + s.places * each};
  }
  return none;
}

inline RecurrentPlan cluster_plan(const RecurrentShape& s, const Chip& chip, int blocks, int teams) {
  RecurrentPlan none{Route::cluster, blocks, 0};
  const int64_t units = units_of(s, blocks, true), rows = ceil_div(s.rows, teams);
  const int tile = rows > 4 ? 8 : rows > 2 ? 4 : static_cast<int>(rows);
  if (chip.capability < 90 || units > kMostUnits || teams > s.rows || blocks > chip.multiprocessors)
    return none;
  if (shared_bytes(s, units, rows, tile, true) > chip.shared_per_block - kSharedSpare) return none;
  const double waves = static_cast<double>(ceil_div(teams, chip.multiprocessors / blocks));
  const double hand_over =
      blocks == 1 ? 0.05 * s.phases : s.phases * kClusterBarrier + handed_bytes(s, rows) / kRemoteBytes;
  const double each =
      hand_over + products(s, units, rows) + s.phases * kFinish * static_cast<double>(ceil_div(rows, tile));
  const double load = static_cast<double>(units * s.unit_bytes) / kLoadBytesEach;
  return {Route::cluster, blocks, teams, tile, kPersistentLaunch + waves * (load + s.places * each)};
}

// Not every number of teams is tried: planning takes time, too.
inline int more(int teams) {
  return teams < 4 ? teams + 1 : teams * 3 / 2;
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
    for (int teams = 1; teams <= chip.multiprocessors && teams <= s.rows;
         teams = choice.teams > 0 ? teams + 1 : plan::more(teams)) {
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
  if (choice.any_route) {
    for (const Route route : {Route::grid, Route::cluster}) {
      if (best.microseconds > plan::kPersistentLaunch) plan::keep_better(best, plan_route(s, chip, route));
    }
  } else {
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

// Which route a recurrence takes: a small model of what each costs, a function of the shape and the device
// alone. Its constants were fitted to what an H100 took for some 300 teams of 16 layers: nearly all of a step
// is latency, of the warp that has most to do. S2S_CUDA_RECURRENCE=step|grid|cluster overrides the choice
// where the route fits; "grid:8x2": teams of 8 blocks, 2 of them.
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
  bool library = false;  // there is one that can make the products of route "step"
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

// --- microseconds, and bytes and elements per microsecond
constexpr double kLaunch = 3.4;  // from one step's kernel to the next, its latencies included
constexpr double kStepBytes[2] = {1.9e6, 2.8e6};  // of weights that a step's kernel streams, for eight
                                                  // sequences: of up to 16 bits, of float32
constexpr double kLibraryLaunch = 12;             // its product, and the kernels before and after it
constexpr double kLibraryRate[2] = {1e8, 1.5e7};  // multiplications: of 16 bits, of float32
constexpr double kPersistentLaunch = 10;          // beyond a kernel's, with what clears or places operands
constexpr double kLoadBytesEach = 3e4;            // weights into one block, at the start
constexpr double kHandOver = 0.35;                // of a phase
constexpr double kTileTime = 0.9;                 // of a tile of sequences: gates, and the way in and out
constexpr double kSecondUnit = 0.25;              // where a thread finishes two units
constexpr double kFetch = 0.15;                   // of a grid: 16 bytes of words for each thread
constexpr double kHeldBlock = 0.017;           // 32 k of a group of weight rows on tensor cores, in registers
constexpr double kSharedBlock = 0.04;          // and in shared memory
constexpr double kSums = 0.13;                 // of a group of four weight rows, by lanes
constexpr double kDots[3] = {0.1, 0.22, 0.5};  // 128 k of it, with 1, up to 4, up to 8 sequences
constexpr double kOfBytes = 0.6;               // the same of int8, as a share

constexpr int kSharedSpare = 512;  // what rounding up may take

// Of recurrent_persistent.h and recurrent_weights.h.
constexpr int kMostUnits = 64, kTile = 8, kHeldDepth = 512, kThreads = 256, kWarps = 8;

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

// What the warp with most to do takes for the products of one tile of `rows` sequences.
inline double products(const RecurrentShape& s, int64_t units, int64_t rows) {
  double time = 0;
  for (int i = 0; i < s.phases; ++i) {
    const RecurrentPhase& p = s.phase[i];
    const int64_t weight_rows = units * p.gates;
    if (s.element_bytes == 2) {
      const int64_t parts = splits(s, p, units), blocks = ceil_div(p.depth, 64) * 2 / parts,
                    groups = ceil_div(ceil_div(weight_rows, 16) * parts, kWarps);
      const int64_t most = p.held > 0 ? kHeldDepth / 32 : 0, held = blocks < most ? blocks : most;
      time += static_cast<double>(held) * kHeldBlock;
      time += static_cast<double>(groups * blocks - held) * kSharedBlock;
    } else {
      const double dots = static_cast<double>(ceil_div(p.depth, 128)) * kDots[rows > 4   ? 2
                                                                              : rows > 1 ? 1
                                                                                         : 0];
      time += static_cast<double>(ceil_div(ceil_div(weight_rows, 4), kWarps)) *
              (kSums + dots * (s.element_bytes == 1 ? kOfBytes : 1));
    }
  }
  return time;
}

// One phase of a step for so many sequences, of `products` = weight rows times depth: by a kernel that
// streams the weights for every eight of them, and by the library.
inline double streamed_phase(double rows, double products, int element_bytes) {
  const double tiles = static_cast<double>(ceil_div(static_cast<int64_t>(rows), kTile));
  return kLaunch + tiles * products * element_bytes / kStepBytes[element_bytes == 4];
}
inline double library_phase(double rows, double products, int element_bytes) {
  return kLibraryLaunch + rows * products / kLibraryRate[element_bytes == 4];
}

inline double step_cost(const RecurrentShape& s) {
  double cost = 0;
  for (int i = 0; i < s.phases; ++i) {
    const double products = static_cast<double>(s.hidden) * s.phase[i].gates * s.phase[i].depth;
    const double streamed = streamed_phase(s.rows, products, s.element_bytes);
    const double made = s.library ? library_phase(s.rows, products, s.element_bytes) : streamed;
    cost += made < streamed ? made : streamed;
  }
  return s.places * cost;
}

// A step of a team with `rows` sequences, `tile` at a time.
inline double persistent_step(const RecurrentShape& s, int64_t units, int64_t rows, int64_t tile,
                              bool cluster) {
  double each =
      s.phases * (kTileTime + (units * tile > kThreads ? kSecondUnit : 0)) + products(s, units, tile);
  for (int p = 0; p < s.phases && !cluster; ++p)
    each += kFetch * static_cast<double>(ceil_div(tile * s.phase[p].depth * s.element_bytes, kThreads * 8));
  return s.phases * kHandOver + static_cast<double>(ceil_div(rows, tile)) * each;
}

inline double load_time(const RecurrentShape& s, int64_t units) {
  return static_cast<double>(units * s.unit_bytes) / kLoadBytesEach;
}

// Teams of `blocks`; 0 teams: they do not fit.
inline RecurrentPlan grid_plan(const RecurrentShape& s, const Chip& chip, int blocks, int teams) {
  RecurrentPlan none{Route::grid, blocks, 0};
  const int64_t units = units_of(s, blocks, false), rows = ceil_div(s.rows, teams);
  if (units > kMostUnits || teams > s.rows || int64_t{blocks} * teams > chip.multiprocessors) return none;
  for (int tile = kTile; tile > 0; tile /= 2) {
    if (tile > 1 && tile / 2 >= rows) continue;
    if (shared_bytes(s, units, tile, tile, false) > chip.shared_per_block - kSharedSpare) continue;
    const double each = persistent_step(s, units, rows, tile, false);
    return {Route::grid, blocks, teams, tile, kPersistentLaunch + load_time(s, units) + s.places * each};
  }
  return none;
}

// A cluster lies in one of the device's groups of multiprocessors, which have not all a multiple of its size.
inline int clusters_at_once(const Chip& chip, int blocks) {
  const int most = chip.multiprocessors / blocks;
  return blocks > 2 && most > 1 ? most - 1 : most;
}

inline RecurrentPlan cluster_plan(const RecurrentShape& s, const Chip& chip, int blocks, int teams) {
  RecurrentPlan none{Route::cluster, blocks, 0};
  const int64_t units = units_of(s, blocks, true), rows = ceil_div(s.rows, teams);
  const int tile = rows > 4 ? 8 : rows > 2 ? 4 : static_cast<int>(rows);
  if (chip.capability < 90 || units > kMostUnits || teams > s.rows || blocks > chip.multiprocessors)
    return none;
  if (shared_bytes(s, units, rows, tile, true) > chip.shared_per_block - kSharedSpare) return none;
  const double waves = static_cast<double>(ceil_div(teams, clusters_at_once(chip, blocks)));
  const double each = persistent_step(s, units, rows, tile, true);
  return {Route::cluster, blocks, teams, tile,
          kPersistentLaunch + waves * (load_time(s, units) + s.places * each)};
}

inline void keep_better(RecurrentPlan& best, const RecurrentPlan& other) {
  if (other.teams > 0 && (best.teams == 0 || other.microseconds < best.microseconds)) best = other;
}

}  // namespace plan

// The best plan of one route; 0 teams where none fits. `choice` fixes what it names.
inline RecurrentPlan plan_route(const RecurrentShape& s, const Chip& chip, Route route,
                                const RecurrentChoice& choice = {}) {
  RecurrentPlan best{route, 0, 0};
  if (route == Route::step) return {route, 1, 1, plan::kTile, plan::step_cost(s)};
  const auto try_teams = [&](int blocks) {
    const auto make = route == Route::grid ? plan::grid_plan : plan::cluster_plan;
    for (int64_t rows = 1;; rows *= 2) {  // of a team
      const int teams = choice.teams > 0 ? choice.teams : static_cast<int>(plan::ceil_div(s.rows, rows));
      plan::keep_better(best, make(s, chip, blocks, teams));
      if (teams == 1 || choice.teams > 0) return;
    }
  };
  if (choice.blocks > 0) {
    try_teams(choice.blocks);
  } else if (route == Route::grid) {
    for (int units = 1; units <= plan::kMostUnits; units *= 2)
      try_teams(static_cast<int>(plan::ceil_div(s.hidden, units)));
  } else {
    for (int blocks = 1; blocks <= 16; blocks *= 2) try_teams(blocks);
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

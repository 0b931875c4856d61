// What the emulator keeps of a running launch. Not for kernels.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "simt_fiber.h"
#include "simt_ptx.h"
#include "simt_runtime.h"
#include "simt_schedule.h"

namespace simt {

struct Block;

struct Thread {
  uint3 index{};
  int lane = 0, warp = 0;
  Block* block = nullptr;
  Fiber* fiber = nullptr;  // null: not begun, or at its end
  bool ended = false;
  Place waits{};                // where it stands while it waits
  unsigned arrived = 0;         // a bit for each Group at whose barrier it has arrived, but not waited
  unsigned generation[3] = {};  // of the barrier it has arrived at, by Group
  int looks = 0;                // how often it has looked at memory since another thread ran
  std::vector<Copy> copies;
  int copy_group = 0;
};

// ThreadSanitizer orders by address: one of a generation of a barrier's own, so that what one generation
// orders is not taken for the next one's order, nor one block's for another's.
struct Barrier {
  int expected = 0, arrived = 0, left = 0, votes = 0;
  unsigned generation = 0;
  int result[2] = {};
  char order[2] = {};
  Place place{};  // where the threads that have arrived stand
  std::vector<Thread*> waiting;
};

struct OpenMeeting : Meeting {
  unsigned arrived = 0;
  Thread* thread[32] = {};
};

struct Warp {
  unsigned alive = 0;
  std::vector<std::unique_ptr<OpenMeeting>> open;
  char order = 0;
};

struct Variable {
  const void* declaration;
  char* memory;  // what malloc gave; p stands at its end
  char* p;
  size_t bytes, alignment;
};

struct Cluster {
  Barrier barrier;
  std::vector<Block*> blocks;
};

struct Block {
  uint3 index{};
  unsigned rank = 0;
  int alive = 0;
  size_t shared_bytes = 0;
  Cluster* cluster = nullptr;
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<Variable> shared;

  Block() = default;
  Block(const Block&) = delete;
  ~Block();
};

struct State {
  const cudaLaunchConfig_t* launch = nullptr;
  Body body = nullptr;
  void* argument = nullptr;
  unsigned cluster = 1;
  bool cooperative = false;

  std::deque<Thread*> ready;
  Thread* thread = nullptr;  // the running one
  Barrier grid;
  int alive = 0;
  unsigned long long waits = 0, looks = 0;  // in all; and without a change in between
  bool failed = false;
  std::string sentence;
};
extern State state;

// Runs a launch; returns the sentence of a failure, or nothing. One at a time, whichever OS thread asks.
std::string run_launch(const cudaLaunchConfig_t& launch, unsigned cluster, bool cooperative, Body body,
                       void* argument);

struct Abandoned {};  // unwinds a thread of a launch that has failed

// Lets another thread run until this one is ready again and its turn has come.
void wait(Place place);
void make_ready(Thread* thread);
// After something that made others ready: in random order, one of them may run before the caller.
void reorder();

unsigned long long max_waits();

// A thread's end, seen by the barriers and warps it belongs to.
void leave_groups(Thread* thread);
// The shared memory of a block whose last thread has ended, which others of its cluster must not use any
// more.
void close_shared(Block* block);

}  // namespace simt

// The workers of a thread pool, and how a caller shares the parts of a region with them.
//
// Each thread has a seat. The caller (seat 0) writes an invitation into each
// worker's seat and begins with its own part. A worker that sees the invitation accepts it; what nobody has
// accepted when the caller's own part is done, the caller does itself and invites anew for the next step. So
// a worker that sleeps or is not scheduled never holds anybody up before it has begun, and a wake-up that is
// lost costs a region's speed, not its end: that is why an invitation needs no fence. Who has accepted stays
// for the region's remaining steps. Between two steps each thread says in its seat which step it has done
// (one store) and looks at the other seats.
//
// A thread that loses its processor in the middle of a part does hold up the others. If the caller has to
// wait for it much longer than a step takes, it sends the workers away and goes on alone. A worker that wakes
// up on the caller's own processor moves to another, and declines where there is none: it could only take the
// caller's time.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "core/detour.h"
#include "core/threads.h"

namespace s2s {

class ThreadTeam {
 public:
  explicit ThreadTeam(int workers);  // makes as many as the system allows, `workers` at most
  ~ThreadTeam();                     // no region may be running

  int workers() const { return static_cast<int>(threads_.size()); }

  // Whether every worker is back from the last region: one that was sent away may be on its way.
  bool ready() const;

  // Runs a region as its part 0, with up to `parts` - 1 workers; ready() must hold. Returns the nanoseconds
  // for which the caller should rather be alone: 0, or the length of a stall.
  int64_t lead(RegionFunction fn, void* context, int64_t steps, int parts);

  static bool is_worker();  // is the calling thread one?

 private:
  enum State : int { kFree, kInvited, kAccepted, kStop };
  // kTurning: asleep, and the caller is sending it round its own processor.
  enum Rest : int { kAwake, kAsleep, kTurning };

  struct Region {
    RegionFunction fn;
    void* context;
    int64_t steps;
    int64_t before;  // steps of all earlier regions
    int parts;
  };

  // Two lines, which processors fetch as a pair: the invitation, and what the caller looks at while it waits.
  struct alignas(128) Seat {
    std::atomic<int> state{kFree};
    std::atomic<int> caller_processor{-1};
    std::atomic<int> rest{kAwake};
    std::atomic<uint32_t> wakes{0};  // what a sleeping worker waits on
    int64_t step;                    // to begin with
    Region region;
    // Steps done, over all regions, times two; plus one: the caller goes on alone.
    alignas(64) std::atomic<int64_t> done{0};
    std::atomic<bool> declined{false};
  };

  void wake(int part, int processor);
  void work(int part);
  void take_part(Seat& seat, int part);
  void sleep(int part, State last_seen);
  void compute(const Region& region, int64_t step, int part);
  void invite(int part, int64_t step, const Region& region);
  bool withdraw(Seat& seat);
  int64_t wait_for_others(int part, int parts, int64_t done) const;

  std::unique_ptr<Seat[]> seats_;      // [1 + workers]
  std::unique_ptr<Detour[]> detours_;  // the same
  std::unique_ptr<bool[]> accepted_;   // [1 + workers] who takes part in the caller's region
  std::vector<std::thread> threads_;
  int64_t steps_before_ = 0;
  std::atomic<bool> failed_{false};  // of the caller's region
  std::exception_ptr failure_;       // of the part that was first
};

}  // namespace s2s

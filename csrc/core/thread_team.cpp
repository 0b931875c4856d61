#include "core/thread_team.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/float_mode.h"
#include "core/spin.h"

namespace s2s {
namespace {

// An idle worker looks for the next region so long before it sleeps: longer than the gap between two ops of
// one step, and than waking takes.
constexpr int64_t kIdle = 50'000;

// Whoever waits for another's part spins so long and then offers its processor, which the other may need; not
// sooner, as to get it back may take a time slice of some milliseconds. The caller's wait is a stall if it is
// longer than this and than two steps. An interrupt or a thread of the kernel takes a processor for less than
// this, another program for a time slice.
constexpr int64_t kStall = 500'000;

thread_local bool works_for_a_team = false;

int64_t mark(int64_t steps_done) {
  return 2 * steps_done;
}

}  // namespace

bool ThreadTeam::is_worker() {
  return works_for_a_team;
}

ThreadTeam::ThreadTeam(int workers)
    : seats_(new Seat[static_cast<size_t>(workers) + 1]),
      detours_(new Detour[static_cast<size_t>(workers) + 1]),
      accepted_(new bool[static_cast<size_t>(workers) + 1]) {
  threads_.reserve(static_cast<size_t>(workers));
  try {
    for (int part = 1; part <= workers; ++part) threads_.emplace_back([this, part] { work(part); });
  } catch (const std::system_error&) {  // no more threads to be had
  }
}

ThreadTeam::~ThreadTeam() {
  for (size_t part = 1; part <= threads_.size(); ++part) {
    Seat& seat = seats_[part];
    seat.state.store(kStop);
    seat.wakes.fetch_add(1);
    seat.wakes.notify_one();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool ThreadTeam::ready() const {
  for (size_t part = 1; part <= threads_.size(); ++part) {
    if (seats_[part].state.load(std::memory_order_acquire) != kFree) return false;
  }
  return true;
}

int64_t ThreadTeam::lead(RegionFunction fn, void* context, int64_t steps, int parts) {
  const Region region{fn, context, steps, steps_before_, parts};
  failed_.store(false, std::memory_order_relaxed);
  steps_before_ += steps;
  std::fill_n(accepted_.get(), parts, false);
  int64_t begin = 0, stall = 0, step = 0;
  for (bool last_together = false; step < steps && !last_together; ++step) {
    last_together = stall != 0;
    for (int part = 1; part < parts; ++part) {
      if (!accepted_[part]) invite(part, step, region);
    }
    if (step == 0) begin = nanoseconds_now();
    compute(region, step, 0);
    const int64_t done = mark(region.before + step + 1);
    // The workers that are to go learn it here, where they look anyway.
    if (step + 1 < steps) seats_[0].done.store(done + last_together, std::memory_order_release);
    for (int part = 1; part < parts; ++part) {
      if (accepted_[part]) continue;
      accepted_[part] = !withdraw(seats_[part]);
      if (accepted_[part]) continue;
      compute(region, step, part);
      seats_[part].done.store(done, std::memory_order_release);
    }
    const int64_t waited = wait_for_others(0, parts, done);
    if (waited > kStall && waited > 2 * (nanoseconds_now() - begin - waited) / (step + 1)) stall = waited;
  }
  const bool failed = failed_.load(std::memory_order_relaxed);
  if (step < steps && !failed) fn(context, step, steps, 0, 1);
  for (int part = 1; part < parts; ++part) {
    if (seats_[part].declined.load(std::memory_order_relaxed)) {
      seats_[part].declined.store(false, std::memory_order_relaxed);
      stall = std::max(stall, kStall);
    }
  }
  if (failed) std::rethrow_exception(std::exchange(failure_, nullptr));
  return stall;
}

// A part of a step. What it throws the caller throws when all have come to the end of the region, which is
// soon: nothing more is computed.
void ThreadTeam::compute(const Region& region, int64_t step, int part) {
  if (failed_.load(std::memory_order_relaxed)) return;
  try {
    region.fn(region.context, step, step + 1, part, region.parts);
  } catch (...) {
    if (!failed_.exchange(true, std::memory_order_relaxed)) failure_ = std::current_exception();
  }
}

void ThreadTeam::invite(int part, int64_t step, const Region& region) {
  Seat& seat = seats_[part];
  const int processor = current_processor();
  seat.step = step;
  seat.region = region;
  seat.caller_processor.store(processor, std::memory_order_relaxed);
  seat.state.store(kInvited, std::memory_order_release);
  // Once a region is enough: a worker that wakes up looks for the next invitation for a while.
  if (step == 0) wake(part, processor);
}

void ThreadTeam::wake(int part, int processor) {
  Seat& seat = seats_[part];
  int rest = kAsleep;
  if (seat.rest.load(std::memory_order_relaxed) != kAsleep ||
      !seat.rest.compare_exchange_strong(rest, kTurning, std::memory_order_acquire))
    return;
  detours_[static_cast<size_t>(part)].begin(threads_[static_cast<size_t>(part - 1)], processor);
  seat.rest.store(kAsleep, std::memory_order_release);
  seat.wakes.fetch_add(1, std::memory_order_relaxed);
  seat.wakes.notify_one();
}

// Takes an invitation back; false if it has been accepted.
bool ThreadTeam::withdraw(Seat& seat) {
  int state = kInvited;
  return seat.state.load(std::memory_order_relaxed) == kInvited &&
         seat.state.compare_exchange_strong(state, kFree, std::memory_order_relaxed);
}

// The nanoseconds until all other parts have done as much; 0 if there were few.
int64_t ThreadTeam::wait_for_others(int part, int parts, int64_t done) const {
  int64_t waited = 0;
  for (int other = 0; other < parts; ++other) {
    if (other == part) continue;
    waited += wait_until(kStall, [&] { return seats_[other].done.load(std::memory_order_acquire) >= done; });
  }
  return waited;
}

void ThreadTeam::work(int part) {
  [[maybe_unused]] const DefaultFloatMode mode;
  works_for_a_team = true;
  Seat& seat = seats_[part];
  const auto is_called = [&] { return seat.state.load(std::memory_order_relaxed) != kFree; };
  const auto in_the_way = [&] {
    const int here = current_processor();
    return here >= 0 && here == seat.caller_processor.load(std::memory_order_relaxed);
  };
  const auto gets_away = [&] {
    return !in_the_way() || leave_processor(seat.caller_processor.load(std::memory_order_relaxed));
  };
  for (;;) {
    bool away = gets_away();
    if (!spin_for(away ? kIdle : 0, is_called)) {
      sleep(part, kFree);
      away = gets_away();  // the system likes to wake it where the caller runs, and one long step is no time
                           // to move
    }
    int state = seat.state.load(std::memory_order_acquire);
    if (state == kStop) return;
    if (state == kInvited && !away && in_the_way()) {
      seat.declined.store(true, std::memory_order_relaxed);
      sleep(part, kInvited);
    } else if (state == kInvited &&
               seat.state.compare_exchange_strong(state, kAccepted, std::memory_order_acquire)) {
      take_part(seat, part);
    }
  }
}

// Until the next invitation. One that comes while it lies down may go unnoticed; the next one will
// not.
void ThreadTeam::sleep(int part, State last_seen) {
  Seat& seat = seats_[part];
  const uint32_t wakes = seat.wakes.load(std::memory_order_acquire);
  seat.rest.store(kAsleep, std::memory_order_release);
  const int state = seat.state.load(std::memory_order_acquire);
  if (state == kFree || state == last_seen) seat.wakes.wait(wakes, std::memory_order_acquire);
  int rest = kAsleep;
  while (!seat.rest.compare_exchange_weak(rest, kAwake, std::memory_order_acquire)) {
    rest = kAsleep;
    std::this_thread::yield();
  }
  detours_[static_cast<size_t>(part)].end();
}

void ThreadTeam::take_part(Seat& seat, int part) {
  const Region region = seat.region;
  for (int64_t step = seat.step;; ++step) {
    compute(region, step, part);
    const int64_t done = mark(region.before + step + 1);
    if (step + 1 == region.steps) {
      seat.state.store(kFree, std::memory_order_relaxed);
      seat.done.store(done, std::memory_order_release);  // from here on the caller may begin another region
      return;
    }
    seat.done.store(done, std::memory_order_release);
    wait_for_others(part, region.parts, done);
    // The caller's mark is that of this step or, if it has been quick, of the next.
    if (seats_[0].done.load(std::memory_order_relaxed) == done + 1) {
      int state = kAccepted;
      seat.state.compare_exchange_strong(state, kFree,
                                         std::memory_order_release);  // unless it is kStop by now
      return;
    }
  }
}

}  // namespace s2s

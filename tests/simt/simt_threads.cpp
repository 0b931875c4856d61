// What kernels ask of the scheduler beside barriers and warps: turns, fences, copies under way.
#include <algorithm>

#include "simt_sanitizers.h"
#include "simt_state.h"

namespace simt {

static char fence_order;

void yield(Place place) {
  const Unseen unseen;
  if (schedule().order == Order::reversed)
    state.ready.push_front(state.thread);
  else
    state.ready.push_back(state.thread);
  wait(place);
}

void spin(Place place) {
  // In order a thread that looks once or twice (an atomic counter) goes on without a switch.
  if (schedule().order == Order::in_order && ++state.thread->looks <= 2) return;
  const Unseen unseen;
  if (++state.looks >
      std::min<unsigned long long>(max_waits(), 10000ull + 100ull * static_cast<unsigned>(state.alive)))
    fail(place, "endless: every thread that can run only looks, and nothing changes");
  yield(place);
}

void fence(Place place) {
  acquire_order(&fence_order);
  release_order(&fence_order);
  if (schedule().order != Order::in_order || ++state.thread->looks > 2) yield(place);
}

unsigned cluster_rank() {
  return state.thread->block->rank;
}
unsigned cluster_size() {
  return state.cluster;
}

bool copies_at_once() {
  const Order order = schedule().order;
  return order == Order::reversed || (order == Order::random && schedule().random(2) == 1);
}
void keep_copy(const Copy& copy) {
  const Unseen unseen;
  state.thread->copies.push_back(copy);
  state.thread->copies.back().group = state.thread->copy_group;
}
void end_copy_group() {
  ++state.thread->copy_group;
}
bool take_copy(int pending, Copy* due) {
  const Unseen unseen;
  auto& copies = state.thread->copies;
  if (copies.empty() || copies.front().group >= state.thread->copy_group - pending) return false;
  *due = copies.front();
  copies.erase(copies.begin());
  return true;
}

}  // namespace simt

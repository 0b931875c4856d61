// Barriers of blocks, clusters and grids, and the meetings of a warp's lanes.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "simt_sanitizers.h"
#include "simt_state.h"

namespace simt {
namespace {

bool same(const Place& a, const Place& b) {
  return a.line == b.line && a.file == b.file;
}

Barrier& barrier_of(Group group, Place place) {
  Block* block = state.thread->block;
  switch (group) {
    case Group::block:
      return block->barrier;
    case Group::cluster:
      return block->cluster->barrier;
    default:
      if (!state.cooperative) fail(place, "the launch is not cooperative");
      return state.grid;
  }
}

void complete(Barrier& b, Vote vote) {
  const int result = vote == Vote::count ? b.votes : vote == Vote::all ? b.votes == b.expected : b.votes > 0;
  b.result[b.generation & 1] = result;
  ++b.generation;
  b.arrived = b.votes = 0;
  for (Thread* t : b.waiting) make_ready(t);
  b.waiting.clear();
  changed();
}

// Returns the generation that the thread belongs to.
unsigned arrive(Barrier& b, Place place, int value, Vote vote) {
  if (b.left > 0) fail(place, "some threads of the group have left the kernel, so this barrier never ends");
  if (b.arrived > 0 && !same(b.place, place)) {
    char text[200];
    std::snprintf(text, sizeof text,
                  "threads of one group are at different barriers: others at %s in line %d", b.place.what,
                  b.place.line);
    fail(place, text);
  }
  const unsigned generation = b.generation;
  release_order(&b.order[generation & 1]);
  b.place = place;
  b.votes += value;
  if (++b.arrived == b.expected) complete(b, vote);
  return generation;
}

int await(Barrier& b, Place place, unsigned generation) {
  if (b.generation == generation) {
    b.waiting.push_back(state.thread);
    wait(place);
  } else {
    reorder();
  }
  acquire_order(&b.order[generation & 1]);
  return b.result[generation & 1];
}

void leave(Barrier& b) {
  --b.expected;
  ++b.left;
  if (b.arrived > 0)
    fail(b.place, "some threads of the group leave the kernel while others wait at this barrier");
}

unsigned bit(Group group) {
  return 1u << static_cast<unsigned>(group);
}

}  // namespace

int barrier(Group group, Place place, int value, Vote vote) {
  const Unseen unseen;
  Barrier& b = barrier_of(group, place);
  if (state.thread->arrived & bit(group)) fail(place, "this thread has arrived already and not waited");
  return await(b, place, arrive(b, place, value, vote));
}

void barrier_arrive(Group group, Place place) {
  const Unseen unseen;
  Thread* t = state.thread;
  if (t->arrived & bit(group)) fail(place, "this thread has arrived already and not waited");
  t->generation[static_cast<int>(group)] = arrive(barrier_of(group, place), place, 0, Vote::count);
  t->arrived |= bit(group);
  reorder();
}

void barrier_wait(Group group, Place place) {
  const Unseen unseen;
  Thread* t = state.thread;
  if (!(t->arrived & bit(group))) fail(place, "this thread has not arrived");
  t->arrived &= ~bit(group);
  await(barrier_of(group, place), place, t->generation[static_cast<int>(group)]);
}

void warp_operation(unsigned mask, Place place, Operation operation, const void* argument, const void* in,
                    void* out) {
  const Unseen unseen;
  Thread* self = state.thread;
  Warp& warp = self->block->warps[self->warp];
  if (!(mask >> self->lane & 1u)) fail(place, "the calling lane is not in its own mask");
  if (mask & ~warp.alive) fail(place, "the mask names lanes that do not exist or have left the kernel");

  auto found = std::find_if(warp.open.begin(), warp.open.end(), [&](auto& m) { return m->lanes & mask; });
  if (found == warp.open.end()) {
    warp.open.push_back(std::make_unique<OpenMeeting>());
    found = warp.open.end() - 1;
    (*found)->lanes = mask;
    (*found)->place = place;
  }
  OpenMeeting& m = **found;
  if (m.lanes != mask) fail(place, "lanes of one warp call with masks that overlap but differ");
  if (!same(m.place, place)) {
    char text[200];
    std::snprintf(text, sizeof text, "lanes of one warp are at different operations: others at %s in line %d",
                  m.place.what, m.place.line);
    fail(place, text);
  }
  m.arrived |= 1u << self->lane;
  m.in[self->lane] = in;
  m.out[self->lane] = out;
  m.thread[self->lane] = self;
  if (m.arrived != mask) {
    wait(place);
    return;
  }
  const std::unique_ptr<OpenMeeting> met = std::move(*found);
  warp.open.erase(found);
  operation(*met, argument);
  for (int l = 0; l < 32; ++l)
    if (met->has(l) && l != self->lane) make_ready(met->thread[l]);
  changed();
  reorder();
}

void warp_barrier(unsigned mask, Place place) {
  char* order = &state.thread->block->warps[state.thread->warp].order;
  release_order(order);
  warp_operation(mask, place, [](const Meeting&, const void*) {}, nullptr, nullptr, nullptr);
  acquire_order(order);
}

void leave_groups(Thread* t) {
  Block* block = t->block;
  Warp& warp = block->warps[t->warp];
  warp.alive &= ~(1u << t->lane);
  for (auto& m : warp.open)
    if (m->has(t->lane)) fail(m->place, "a lane that the mask names has left the kernel");
  leave(block->barrier);
  leave(block->cluster->barrier);
  leave(state.grid);
}

}  // namespace simt

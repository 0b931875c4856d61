// The scheduler: runs the blocks of a launch one after the other (all at once if they may wait for each
// other), and of these every thread as a fiber. A thread is begun as a plain call on the fiber of one that
// has ended; only who waits keeps a stack, so a kernel without barriers runs on a single one.
//
// The .cpp files of this folder are compiled without -fsanitize, whatever the kernels are compiled with.
#include "emulator.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "simt_sanitizers.h"
#include "simt_state.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace simt {

int lane;
State state;

namespace {

Fiber* host;
std::deque<Fiber*> idle;
Thread* assigned;  // what a fiber that is gone to begins
char begin_order, end_order;

// Under ThreadSanitizer a fiber is a thread of its own, and one used for two CUDA threads hides their races
// from each other. So there are more than run at once, and they take turns.
size_t fibers_to_see_races(size_t threads) {
  return state.cooperative ? threads : std::max<size_t>(2 * threads, 128);
}

Thread* next() {
  if (state.failed || state.ready.empty()) return nullptr;
  Thread* t;
  if (schedule().order == Order::reversed) {
    t = state.ready.back();
    state.ready.pop_back();
  } else {
    if (schedule().order == Order::random)
      std::swap(state.ready.front(),
                state.ready[schedule().random(static_cast<uint32_t>(state.ready.size()))]);
    t = state.ready.front();
    state.ready.pop_front();
  }
  return t;
}

void set_running(Thread* t) {
  state.thread = t;
  threadIdx = t->index;
  blockIdx = t->block->index;
  lane = t->lane;
}

void fiber_main();

// Null: there is no memory for one more.
Fiber* idle_fiber() {
  if (idle.empty()) return new_fiber(fiber_main);
  Fiber* f = thread_sanitizer() ? idle.front() : idle.back();
  thread_sanitizer() ? idle.pop_front() : idle.pop_back();
  return f;
}

constexpr size_t kThreadsSanitized = 6000;  // 6144 were seen to work and 8192 not to

// A new fiber begins after all that the fiber which made it had done, so the host makes them.
void make_fibers_to_see_races(size_t threads) {
  if (!thread_sanitizer()) return;
  if (threads > kThreadsSanitized) {
    state.failed = true;
    state.sentence = "ThreadSanitizer cannot follow so many threads at once: emulate fewer multiprocessors";
    return;
  }
  while (idle.size() < fibers_to_see_races(threads)) {
    Fiber* f = new_fiber(fiber_main);
    if (f == nullptr) return;
    idle.push_back(f);
  }
}

// Goes on in thread t: where it waits, or from its beginning. Null: in the host, the launch has come to an
// end. Returns when the calling fiber has been gone to again.
void resume(Thread* t) {
  if (t == nullptr) return go_to(host);
  if (t->fiber == nullptr) {
    t->fiber = idle_fiber();
    if (t->fiber == nullptr) {
      state.failed = true;
      state.sentence = "no memory for the stacks of so many threads at once: emulate fewer multiprocessors";
      return go_to(host);
    }
    assigned = t;
  }
  set_running(t);
  go_to(t->fiber);
}

void run_thread(Thread* t) {
  acquire_order(&begin_order);
  try {
    {
      const Seen seen;
      state.body(state.argument);
    }
    leave_groups(t);
    changed();
    if (--t->block->alive == 0 && state.cluster > 1) close_shared(t->block);
  } catch (const Abandoned&) {
  }
  release_order(&end_order);
  t->ended = true;
  t->fiber = nullptr;
  --state.alive;
}

// The life of a fiber: thread after thread.
void fiber_main() {
  fiber_entered();
  const Unseen unseen;
  for (;;) {
    Fiber* self = current_fiber();
    run_thread(std::exchange(assigned, nullptr));
    Thread* t = next();
    if (t && t->fiber == nullptr && !thread_sanitizer()) {
      t->fiber = self;
      assigned = t;
      set_running(t);
    } else {
      idle.push_back(self);
      resume(t);  // unless that came back to this fiber, it stays idle here until a thread is assigned to it
    }
  }
}

std::string place_text(Place p) {
  std::string file = p.file ? p.file : "";
  file.erase(0, file.rfind('/') + 1);
  return file.empty() ? p.what : file + ":" + std::to_string(p.line) + ": " + p.what;
}

std::string deadlock(const std::vector<Thread>& threads) {
  std::map<std::string, std::pair<int, const Thread*>> places;
  for (const Thread& t : threads) {
    if (t.ended) continue;
    auto& entry = places.emplace(place_text(t.waits), std::make_pair(0, &t)).first->second;
    ++entry.first;
  }
  std::string text = "deadlock:";
  for (const auto& [place, entry] : places) {
    const Thread& first = *entry.second;
    text += " " + std::to_string(entry.first) + " threads wait at " + place + " (the first is thread " +
            std::to_string(first.index.x) + " of block " + std::to_string(first.block->index.x) + ");";
  }
  text.back() = '.';
  return text;
}

void begin_block(Block* block, size_t index, std::vector<Thread>* threads) {
  const dim3 grid = state.launch->gridDim, shape = state.launch->blockDim;
  const int n = static_cast<int>(shape.x * shape.y * shape.z);
  block->index = {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
                  static_cast<unsigned>(index / grid.x / grid.y)};
  block->alive = block->barrier.expected = n;
  block->cluster->barrier.expected += n;
  state.grid.expected += n;
  state.alive += n;
  block->warps.resize(static_cast<size_t>(n + 31) / 32);
  for (int i = 0; i < n; ++i) {
    Thread t;
    t.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    t.lane = i % 32;
    t.warp = i / 32;
    t.block = block;
    block->warps[static_cast<size_t>(t.warp)].alive |= 1u << t.lane;
    threads->push_back(std::move(t));
  }
}

// The clusters clusters[0 .. n), side by side.
void run_together(const size_t* clusters, size_t n) {
  state.grid = Barrier();
  state.alive = 0;
  state.ready.clear();
  std::vector<std::unique_ptr<Cluster>> all;
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<Thread> threads;
  threads.reserve(n * state.cluster * state.launch->blockDim.x * state.launch->blockDim.y *
                  state.launch->blockDim.z);
  for (size_t c = 0; c < n; ++c) {
    all.push_back(std::make_unique<Cluster>());
    for (unsigned rank = 0; rank < state.cluster; ++rank) {
      blocks.push_back(std::make_unique<Block>());
      Block* block = blocks.back().get();
      block->cluster = all.back().get();
      block->rank = rank;
      block->cluster->blocks.push_back(block);
      begin_block(block, clusters[c] * state.cluster + rank, &threads);
    }
  }
  for (Thread& t : threads) state.ready.push_back(&t);

  make_fibers_to_see_races(threads.size());
  resume(next());
  if (state.alive > 0 && !state.failed) {
    state.failed = true;
    state.sentence = deadlock(threads);
  }
  if (state.failed)  // what still waits unwinds its stack
    for (Thread& t : threads)
      if (!t.ended && t.fiber) resume(&t);
}

// By clusters. In random order a few run side by side even where none may wait for another.
void run_all() {
  const dim3 grid = state.launch->gridDim;
  std::vector<size_t> clusters(size_t{grid.x} * grid.y * grid.z / state.cluster);
  for (size_t i = 0; i < clusters.size(); ++i) clusters[i] = i;
  size_t together = state.cooperative ? clusters.size() : 1;
  if (schedule().order == Order::reversed) std::reverse(clusters.begin(), clusters.end());
  if (schedule().order == Order::random) {
    for (size_t i = clusters.size(); i > 1; --i)
      std::swap(clusters[i - 1], clusters[schedule().random(static_cast<uint32_t>(i))]);
    const size_t threads = size_t{state.cluster} * state.launch->blockDim.x * state.launch->blockDim.y *
                           state.launch->blockDim.z;
    if (!state.cooperative && threads <= 1024) together = 1 + schedule().random(4);
  }
  for (size_t i = 0; i < clusters.size() && !state.failed; i += together)
    run_together(&clusters[i], std::min(together, clusters.size() - i));
}

}  // namespace

unsigned long long max_waits() {
  static const char* text = std::getenv("S2S_SIMT_MAX_STEPS");
  static const unsigned long long n = text ? std::strtoull(text, nullptr, 0) : 200'000'000ull;
  return n;
}

void make_ready(Thread* t) {
  state.ready.push_back(t);
}

void wait(Place place) {
  Thread* self = state.thread;
  self->waits = place;
  self->looks = 0;
  if (++state.waits > max_waits()) fail(place, "the launch goes on and on (S2S_SIMT_MAX_STEPS waits)");
  Thread* t = next();
  if (t != self) {
    resume(t);
    if (state.failed) throw Abandoned();
  }
}

void reorder() {
  if (schedule().order != Order::random) return;
  make_ready(state.thread);
  wait(state.thread->waits);
}

void changed() {
  state.looks = 0;
}

void fail(Place place, const char* sentence) {
  const Unseen unseen;
  if (!state.failed) {
    char where[120];
    std::snprintf(where, sizeof where, " [block %u,%u,%u thread %u,%u,%u]", blockIdx.x, blockIdx.y,
                  blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    state.sentence = place_text(place) + ": " + sentence + where;
  }
  state.failed = true;
  throw Abandoned();
}

std::string run_launch(const cudaLaunchConfig_t& launch, unsigned cluster, bool cooperative, Body body,
                       void* argument) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  const Unseen unseen;
  state = State();
  state.launch = &launch;
  state.body = body;
  state.argument = argument;
  state.cluster = cluster;
  state.cooperative = cooperative;
  blockDim = launch.blockDim;
  gridDim = launch.gridDim;
  host = adopt_thread();
  release_order(&begin_order);
  run_all();
  acquire_order(&end_order);
  return std::move(state.sentence);
}

}  // namespace simt

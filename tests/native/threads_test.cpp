// Hammers the thread pools. `threads_test` runs everything but forks, so that ThreadSanitizer can watch;
// `threads_test fork` forks while other threads are inside regions. Says what failed and returns 1, or prints
// "passed".
#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "core/spin.h"
#include "core/thread_pool.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/wait.h>
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace {

std::atomic<int> failures{0};
std::atomic<int64_t> allocations{0};

void expect(bool ok, const char* what) {
  if (!ok && failures.fetch_add(1) < 10) std::fprintf(stderr, "FAILED: %s\n", what);
}

using Random = std::mt19937;

void work_for(int64_t nanoseconds) {
  s2s::spin_for(nanoseconds, [] { return false; });
}

// A part's fate: mostly quick, now and then as if it had lost its processor.
void tarry(uint32_t dice) {
  if (dice % 512 == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
  } else if (dice % 4 == 0) {
    work_for(dice % 5000);
  }
}

// Each part of a region is done once.
void region(int max_parts, uint32_t dice) {
  int done[16] = {};
  std::atomic<int> parts_seen{0};
  s2s::parallel(max_parts, [&](int part, int parts) {
    parts_seen = parts;
    tarry(dice + static_cast<uint32_t>(part));
    ++done[part];
  });
  const int parts = parts_seen;
  expect(parts >= 1 && parts <= max_parts, "a region has at most max_parts parts");
  for (int part = 0; part < 16; ++part) expect(done[part] == (part < parts), "each part is done once");
}

// A recurrence: each element of a step needs every element of the step before.
void recurrence(int max_parts, int64_t steps, uint32_t dice) {
  constexpr int64_t kWidth = 16;
  const auto next = [](const uint32_t* before, int64_t i, int64_t step) {
    uint32_t sum = static_cast<uint32_t>(i * 31 + step);
    for (int64_t j = 0; j < kWidth; ++j) sum = sum * 33 + before[j];
    return sum;
  };
  std::vector<uint32_t> states(static_cast<size_t>((steps + 1) * kWidth)), expected(states);
  for (int64_t i = 0; i < kWidth; ++i)
    states[static_cast<size_t>(i)] = expected[static_cast<size_t>(i)] = dice;
  for (int64_t step = 0; step < steps; ++step) {
    uint32_t* before = expected.data() + step * kWidth;
    for (int64_t i = 0; i < kWidth; ++i) before[kWidth + i] = next(before, i, step);
  }
  s2s::parallel_steps(max_parts, steps, [&](int64_t first, int64_t last, int part, int parts) {
    expect(parts == 1 || last == first + 1, "several steps at once only alone");
    const s2s::Range range = s2s::share_of(kWidth, part, parts);
    for (int64_t step = first; step < last; ++step) {
      tarry(dice + static_cast<uint32_t>(step * 7 + part));
      uint32_t* before = states.data() + step * kWidth;
      for (int64_t i = range.begin; i < range.end; ++i) before[kWidth + i] = next(before, i, step);
    }
  });
  expect(states == expected, "a recurrence has the numbers of one thread");
}

void nested() {
  s2s::parallel(4, [&](int, int outer) {
    int done[4] = {};
    s2s::parallel(4, [&](int part, int parts) {
      expect(outer == 1 || parts == 1, "a region inside a part of another runs alone");
      ++done[part];
      if (part == 0) std::fill(done + parts, done + 4, 1);
    });
    for (int times : done) expect(times == 1, "a region inside a part does its work once");
  });
}

void mixture(uint32_t seed, int rounds) {
  Random random(seed);
  for (int round = 0; round < rounds; ++round) {
    const int max_parts = 1 + static_cast<int>(random() % 6);
    switch (random() % 5) {
      case 0:
        recurrence(max_parts, static_cast<int64_t>(random() % 40), random());
        break;
      case 1:
        nested();
        break;
      case 2:  // around the time after which workers sleep
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 120));
        region(max_parts, random());
        break;
      default:
        region(max_parts, random());
    }
  }
}

void many(int callers, const std::function<void(uint32_t)>& call) {
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i) threads.emplace_back(call, static_cast<uint32_t>(i));
  for (std::thread& thread : threads) thread.join();
}

void test_threads() {
  for (int threads : {1, 2, 3, 5}) {
    s2s::set_num_threads(threads);
    mixture(static_cast<uint32_t>(threads), 3000);
  }
  // Many callers, while the size of their pool changes.
  std::atomic<bool> stop{false};
  std::thread resizer([&] {
    for (Random random(1); !stop;) {
      s2s::set_num_threads(1 + static_cast<int>(random() % 5));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  many(6, [](uint32_t i) { mixture(100 + i, 2000); });
  stop = true;
  resizer.join();
  // Two pools shared by four callers each; others own one, anew in each round.
  s2s::ThreadPool pools[2]{s2s::ThreadPool(2), s2s::ThreadPool(3)};
  many(8, [&](uint32_t i) {
    const s2s::ThreadPool::Scope scope(pools[i % 2]);
    mixture(200 + i, 2000);
    expect(&s2s::ThreadPool::current() == &pools[i % 2], "a scope stays");
  });
  many(4, [](uint32_t i) {
    for (int round = 0; round < 20; ++round) {
      s2s::ThreadPool own(1 + round % 4);
      const s2s::ThreadPool::Scope scope(own);
      mixture(300 + i, 10);
    }
  });
  expect(&s2s::ThreadPool::current() == &s2s::ThreadPool::of_process(), "a scope ends");
}

#if defined(__linux__)
cpu_set_t own_processors() {
  cpu_set_t processors;
  expect(sched_getaffinity(0, sizeof(processors), &processors) == 0,
         "a thread's processors can be asked for");
  return processors;
}

// A worker that has gone to sleep takes part soon, though the caller keeps its own processor busy, and may
// still run on all processors afterwards.
void test_waking() {
  cpu_set_t all = own_processors();
  if (CPU_COUNT(&all) < 2) return;
  constexpr int kTries = 20;
  int soon = 0;
  s2s::ThreadPool own(2);
  const s2s::ThreadPool::Scope scope(own);
  for (int i = 0; i < kTries; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const std::thread::id caller = std::this_thread::get_id();
    const int64_t begin = s2s::nanoseconds_now();
    std::atomic<int64_t> came{0};
    s2s::parallel_steps(2, 400, [&](int64_t first, int64_t last, int, int) {
      for (; first < last; ++first) {
        if (std::this_thread::get_id() != caller && came == 0) {
          came = s2s::nanoseconds_now() - begin;
          cpu_set_t here = own_processors();
          expect(CPU_EQUAL(&here, &all), "a worker that was woken up may run anywhere");
        }
        work_for(10'000);
      }
    });
    soon += came > 0 && came < 1'000'000;
  }
  if (soon < kTries / 4) std::fprintf(stderr, "soon: %d of %d\n", soon, kTries);
  expect(soon >= kTries / 4, "a worker that slept takes part within a millisecond");
}

// What a part throws comes out of the region, wherever it is computed; and the pool is as it was.
void test_exceptions() {
  s2s::ThreadPool pool(4);
  const s2s::ThreadPool::Scope scope(pool);
  for (uint32_t dice = 0; dice < 4000; ++dice) {
    const int64_t steps = 1 + dice % 7, bad_step = dice % 11;
    const int bad_part = static_cast<int>(dice % 5);  // none, now and then
    std::atomic<int> thrown{0}, running{0};
    bool caught = false;
    try {
      s2s::parallel_steps(4, steps, [&](int64_t first, int64_t last, int part, int parts) {
        ++running;
        tarry(dice + static_cast<uint32_t>(part));
        const bool bad = first <= bad_step && bad_step < last && (part == bad_part || parts == 1);
        --running;
        if (bad) ++thrown, throw std::bad_alloc();
      });
    } catch (const std::bad_alloc&) {
      caught = true;
    }
    expect(running == 0, "a region that threw has ended");
    expect(caught == (thrown > 0), "what a part throws comes out");
    region(4, dice);
  }
}
#endif

void test_that_nothing_is_allocated() {
  s2s::ThreadPool pool(4);
  const s2s::ThreadPool::Scope scope(pool);
  const auto run = [] {
    std::atomic<int64_t> sum{0};
    s2s::parallel(4, [&](int part, int) { sum += part; });
    s2s::parallel_steps(4, 20, [&](int64_t first, int64_t last, int, int) { sum += last - first; });
  };
  run();
  const int64_t before = allocations;
  for (int round = 0; round < 200; ++round) {
    run();
    if (round % 20 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  expect(allocations == before, "a warm region allocates nothing");
}

#if defined(__unix__) || defined(__APPLE__)
void test_forks() {
  s2s::set_num_threads(3);
  auto own = std::make_unique<s2s::ThreadPool>(3);
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (uint32_t i = 0; i < 4; ++i) {
    busy.emplace_back([&, i] {
      const s2s::ThreadPool::Scope scope(i % 2 ? *own : s2s::ThreadPool::of_process());
      while (!stop) mixture(i, 20);
    });
  }
  for (int round = 0; round < 100; ++round) {
    std::this_thread::sleep_for(std::chrono::microseconds(500 * (round % 7)));
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // a hang ends here, and is seen as a signal
      mixture(1, 30);
      std::atomic<int> most{0};
      const auto see = [&](int, int parts) { most = std::max(most.load(), parts); };
      while (most < 3) s2s::parallel(3, see);  // soon: after a stall, callers are alone for a while
      {
        const s2s::ThreadPool::Scope scope(*own);
        mixture(2, 30);
        if (round % 2) {  // from a child of the child, too
          const pid_t grandchild = fork();
          if (grandchild == 0) {
            alarm(20);
            mixture(3, 10);
            _exit(failures > 0);
          }
          int status = 0;
          expect(waitpid(grandchild, &status, 0) == grandchild && status == 0, "a child's child works");
        }
      }
      own.reset();
      _exit(failures > 0);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child && status == 0, "a child works");
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
}
#endif

}  // namespace

[[gnu::noinline]] void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

int main(int count, char**) {
#if defined(__unix__) || defined(__APPLE__)
  if (count > 1) {
    test_forks();
  } else
#endif
  {
    test_threads();
#if defined(__linux__)
    test_waking();
#endif
    test_exceptions();
    test_that_nothing_is_allocated();
  }
  if (failures == 0) std::puts("passed");
  return failures > 0;
}

// Parallel regions, for kernels. They run on the thread pool that is current where they are called
// (core/thread_pool.h): that of the process, unless a ThreadPool::Scope says otherwise.
#pragma once

#include <cstdint>

namespace s2s {

void set_num_threads(int threads);  // of the process's pool: 1 or more; counts the calling thread
int get_num_threads();

// fn(context, first, last, part, parts) does part `part` of `parts` of the steps [first, last).
using RegionFunction = void (*)(void* context, int64_t first, int64_t last, int part, int parts);
void run_region(RegionFunction fn, void* context, int64_t steps, int max_parts);

// Runs f(part, parts) once for each part in [0, parts). `parts` is at most `max_parts` and the pool's
// threads, and 1 where the pool is busy, so f must do all the work for any `parts`. One thread may do several
// parts, one after the other: a part must not wait for another.
template <class F>
void parallel(int max_parts, const F& f) {
  run_region([](void* context, int64_t, int64_t, int part,
                int parts) { (*static_cast<const F*>(context))(part, parts); },
             const_cast<F*>(&f), 1, max_parts);
}

// The same for steps in their order: f(first, last, part, parts) does the part's share of the steps [first,
// last), and no part of a step begins before every part of the step before it is done. Where `parts` is above
// 1, a call is for one step. From one step to the next, `parts` may fall to 1 and a part may go to another
// thread.
template <class F>
void parallel_steps(int max_parts, int64_t steps, const F& f) {
  run_region([](void* context, int64_t first, int64_t last, int part,
                int parts) { (*static_cast<const F*>(context))(first, last, part, parts); },
             const_cast<F*>(&f), steps, max_parts);
}

// Part `part` of [0, count) cut into `parts` even ranges.
struct Range {
  int64_t begin, end;
};
// Always inlined: kernels of strong instruction sets use it.
[[gnu::always_inline]] inline Range share_of(int64_t count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

}  // namespace s2s

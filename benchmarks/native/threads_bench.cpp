// What a parallel region and a hand-over between two steps cost: threads_bench [threads]. Medians, in
// nanoseconds.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/spin.h"
#include "core/threads.h"

namespace {

using s2s::nanoseconds_now;

// So many dependent multiplications: about a nanosecond each.
void work(int count) {
  volatile uint64_t result = 0;
  uint64_t x = 1;
  for (int i = 0; i < count; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
  result = x;
  static_cast<void>(result);
}

template <class F>
double median(int repeats, const F& call) {
  std::vector<int64_t> times;
  for (int i = 0; i < repeats; ++i) {
    const int64_t begin = nanoseconds_now();
    call();
    times.push_back(nanoseconds_now() - begin);
  }
  std::nth_element(times.begin(), times.begin() + repeats / 2, times.end());
  return static_cast<double>(times[static_cast<size_t>(repeats / 2)]);
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count > 1 ? std::atoi(arguments[1]) : 2;
  s2s::set_num_threads(threads);
  std::printf("%d threads\n%-10s %10s %10s %10s\n", threads, "work", "alone", "region", "step");
  for (int amount : {0, 200, 1000, 5000, 20000}) {
    constexpr int kSteps = 100;
    const double alone = median(2000, [&] { work(amount); });
    const double region = median(2000, [&] { s2s::parallel(threads, [&](int, int) { work(amount); }); });
    const double steps = median(200, [&] {
      s2s::parallel_steps(threads, kSteps, [&](int64_t first, int64_t last, int, int) {
        for (int64_t step = first; step < last; ++step) work(amount);
      });
    });
    std::printf("%-10d %10.0f %10.0f %10.0f\n", amount, alone, region, steps / kSteps);
  }
  const double woken = median(200, [&] {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    s2s::parallel(threads, [&](int, int) { work(200000); });
  });
  const double alone = median(200, [&] {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    work(200000);
  });
  std::printf("region of %d after a sleep: %.0f over its work\n", 200000, woken - alone);
}

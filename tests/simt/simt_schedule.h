// The order in which threads run. A bug may show in one order only, so tests run in several.
#pragma once

#include <cstdint>

namespace simt {

enum class Order { in_order, reversed, random };

struct Schedule {
  Order order = Order::in_order;
  uint64_t state = 1;  // of the generator of random orders

  uint32_t random(uint32_t n);  // of [0, n)
};

// First taken from the environment, S2S_SIMT_SCHEDULE.
Schedule& schedule();

}  // namespace simt

// "in-order", "reversed" or "random:SEED"; false: none of them, nothing changes. For tests, also from Python.
extern "C" __attribute__((visibility("default"))) bool s2s_simt_schedule(const char* text);

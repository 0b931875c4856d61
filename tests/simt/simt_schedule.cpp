// Schedules by name.
#include "simt_schedule.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace simt {
namespace {

bool parse(const std::string& text, Schedule* s) {
  if (text == "in-order") {
    s->order = Order::in_order;
  } else if (text == "reversed") {
    s->order = Order::reversed;
  } else if (text.rfind("random:", 0) == 0) {
    const char* digits = text.c_str() + 7;
    char* end = nullptr;
    const uint64_t seed = std::strtoull(digits, &end, 10);
    if (end == digits || *end != '\0') return false;
    s->order = Order::random;
    s->state = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
    for (int i = 0; i < 8; ++i) s->random(2);
  } else {
    return false;
  }
  return true;
}

Schedule from_environment() {
  Schedule s;
  const char* text = std::getenv("S2S_SIMT_SCHEDULE");
  if (text && !parse(text, &s))
    throw std::runtime_error(std::string("S2S_SIMT_SCHEDULE is in-order, reversed or random:SEED, not ") +
                             text);
  return s;
}

}  // namespace

uint32_t Schedule::random(uint32_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<uint32_t>((state >> 32) * n >> 32);
}

Schedule& schedule() {
  static Schedule s = from_environment();
  return s;
}

}  // namespace simt

bool s2s_simt_schedule(const char* text) {
  return simt::parse(text, &simt::schedule());
}

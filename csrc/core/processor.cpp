// The processor itself is asked (cpuid, xgetbv): compilers differ in the names __builtin_cpu_supports knows.
#include "core/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#endif

namespace s2s {

#if defined(__x86_64__)
namespace {

template <class... Bit>
constexpr uint32_t bits(Bit... bit) {
  return (0u | ... | (1u << bit));
}

// Where cpuid answers: registers of leaf 1, of leaf 7 (eax of its second part) and of leaf 0x80000001; and of
// xgetbv, what the system keeps.
struct Features {
  uint32_t ecx1 = 0, ebx7 = 0, ecx7 = 0, eax71 = 0, extended = 0, kept = 0;
};

// What each set needs besides what the sets before it need: all that its compiler options let the compiler
// use.
constexpr struct {
  std::string_view name;
  Features needs;
} kSets[] = {
    // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF
    {"sse4", {.ecx1 = bits(0, 9, 13, 19, 20, 23), .extended = bits(0)}},
    // FMA, MOVBE, OSXSAVE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT; the registers xmm and ymm
    {"avx2",
     {.ecx1 = bits(12, 22, 27, 28, 29), .ebx7 = bits(3, 5, 8), .extended = bits(5), .kept = bits(1, 2)}},
    // AVX512F, DQ, CD, BW, VL; the mask registers and zmm
    {"avx512", {.ebx7 = bits(16, 17, 28, 30, 31), .kept = bits(5, 6, 7)}},
    {"avx512vnni", {.ecx7 = bits(11)}},
    {"avx512bf16", {.eax71 = bits(5)}},
};

Features ask() {
  Features f;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) f.ecx1 = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) f.ebx7 = ebx, f.ecx7 = ecx;
  if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) f.eax71 = eax;
  if (__get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx)) f.extended = ecx;
  if (f.ecx1 & bits(27)) __asm__ volatile("xgetbv" : "=a"(f.kept), "=d"(edx) : "c"(0));
  return f;
}

bool has(const Features& f, const Features& needs) {
  const auto all = [](uint32_t have, uint32_t need) { return (have & need) == need; };
  return all(f.ecx1, needs.ecx1) && all(f.ebx7, needs.ebx7) && all(f.ecx7, needs.ecx7) &&
         all(f.eax71, needs.eax71) && all(f.extended, needs.extended) && all(f.kept, needs.kept);
}

}  // namespace

bool processor_runs(std::string_view instruction_set) {
  static const Features features = ask();
  for (const auto& set : kSets) {
    if (!has(features, set.needs)) return false;
    if (set.name == instruction_set) return true;
  }
  return false;
}

#else

bool processor_runs(std::string_view) {
  return true;  // generic; neon, which every processor of its architecture has
}

#endif

}  // namespace s2s

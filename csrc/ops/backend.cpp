// The one place that chooses an instruction set.
#include "ops/backend.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "ops/kernels.h"

namespace s2s {

#define S2S_DECLARE(isa)      \
  namespace isa {             \
  extern const Kernels table; \
  }
#ifdef S2S_HAVE_ISA_generic
S2S_DECLARE(generic)
#endif
#ifdef S2S_HAVE_ISA_sse4
S2S_DECLARE(sse4)
S2S_DECLARE(avx2)
S2S_DECLARE(avx512)
#endif

namespace {

// Every table this processor can run, weakest first.
std::vector<const Kernels*> usable() {
  std::vector<const Kernels*> tables;
#ifdef S2S_HAVE_ISA_generic
  tables.push_back(&generic::table);
#endif
#ifdef S2S_HAVE_ISA_sse4
  __builtin_cpu_init();
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")) tables.push_back(&sse4::table);
  const bool has_avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (has_avx2) tables.push_back(&avx2::table);
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512cd")) {
    tables.push_back(&avx512::table);
  }
#endif
  return tables;
}

const Kernels& choose() {
  const auto tables = usable();
  if (tables.empty()) throw std::runtime_error("seq2seq_fast needs a processor with SSE4.2 (x86-64-v2).");
  const char* wanted = std::getenv("S2S_CPU_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.back();
  std::string names;
  for (const Kernels* table : tables) {
    if (std::strcmp(table->name, wanted) == 0) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw std::runtime_error(
      text("S2S_CPU_ISA=", wanted, " is not an instruction set of this processor and build: ", names, "."));
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& table = choose();
  return table;
}

std::vector<std::string> cpu_isas() {
  std::vector<std::string> names;
  for (const Kernels* table : usable()) names.emplace_back(table->name);
  return names;
}

}  // namespace s2s

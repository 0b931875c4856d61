// The one place that chooses an instruction set.
#include "ops/backend.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/processor.h"
#include "instruction_sets.h"  // made by cmake/instruction_sets.cmake: the list of what is compiled
#include "ops/kernels.h"

namespace s2s {

#define S2S_DECLARE(isa)      \
  namespace isa {             \
  extern const Kernels table; \
  }
S2S_EACH_INSTRUCTION_SET(S2S_DECLARE)

namespace {

// Every table of this build, weakest first.
const Kernels* const compiled[] = {
#define S2S_TABLE(isa) &isa::table,
    S2S_EACH_INSTRUCTION_SET(S2S_TABLE)};

std::vector<const Kernels*> usable() {
  std::vector<const Kernels*> tables;
  for (const Kernels* table : compiled) {
    if (processor_runs(table->name)) tables.push_back(table);
  }
  return tables;
}

const Kernels& choose() {
  const auto tables = usable();
  if (tables.empty())
    throw std::runtime_error(
        text("seq2seq_fast needs a processor with at least the instruction set ", compiled[0]->name, "."));
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

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (const Kernels* table : compiled) names.emplace_back(table->name);
  return names;
}

}  // namespace s2s

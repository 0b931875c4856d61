# S2S_INSTRUCTION_SETS: the instruction sets the kernels are compiled for, weakest first; S2S_FLAGS_<isa>: their options.
# What each asks of a processor stands in csrc/core/processor.cpp, its vectors in csrc/cpu/vec.h; csrc/ops/backend.cpp
# chooses among them at run time. What the compiler cannot make is left out, in a sentence.
include(CheckCXXSourceCompiles)

set(S2S_ONLY_ISAS "" CACHE STRING "Compile the kernels for these instruction sets only (empty: for all), to save time")

macro(s2s_instruction_set isa) # the rest: the compiler's options
  set(S2S_FLAGS_${isa} ${ARGN})
  list(JOIN S2S_FLAGS_${isa} " " CMAKE_REQUIRED_FLAGS)
  check_cxx_source_compiles("int main() { return 0; }" S2S_CAN_COMPILE_${isa})
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT S2S_CAN_COMPILE_${isa})
    message(STATUS "Left out: instruction set ${isa}, for which this compiler has no options (${S2S_FLAGS_${isa}})")
  elseif(NOT S2S_ONLY_ISAS OR "${isa}" IN_LIST S2S_ONLY_ISAS)
    list(APPEND S2S_INSTRUCTION_SETS ${isa})
  endif()
endmacro()

# The compiler is asked, not CMAKE_SYSTEM_PROCESSOR, which on macOS names the machine that builds.
check_cxx_source_compiles("#ifndef __x86_64__\n#error\n#endif\nint main() { return 0; }" S2S_X86_64)
check_cxx_source_compiles("#ifndef __aarch64__\n#error\n#endif\nint main() { return 0; }" S2S_AARCH64)
if(S2S_X86_64)
  s2s_instruction_set(sse4 -march=x86-64-v2)
  s2s_instruction_set(avx2 -march=x86-64-v3)
  s2s_instruction_set(avx512 -march=x86-64-v4 -mprefer-vector-width=512)
  s2s_instruction_set(avx512vnni ${S2S_FLAGS_avx512} -mavx512vnni)
  s2s_instruction_set(avx512bf16 ${S2S_FLAGS_avx512vnni} -mavx512bf16)
elseif(S2S_AARCH64)
  s2s_instruction_set(neon) # part of every such processor
else()
  s2s_instruction_set(generic) # plain vector code for any other: compiled, not tuned
endif()

if(NOT S2S_INSTRUCTION_SETS)
  message(FATAL_ERROR "No instruction set to compile the kernels for (S2S_ONLY_ISAS=${S2S_ONLY_ISAS}).")
endif()
list(JOIN S2S_INSTRUCTION_SETS ", " isas)
message(STATUS "Instruction sets of the kernels: ${isas}")

# The list for csrc/ops/backend.cpp.
list(TRANSFORM S2S_INSTRUCTION_SETS REPLACE "(.+)" "X(\\1)" OUTPUT_VARIABLE entries)
list(JOIN entries " " entries)
file(CONFIGURE OUTPUT generated/instruction_sets.h CONTENT "#define S2S_EACH_INSTRUCTION_SET(X) @entries@\n" @ONLY)

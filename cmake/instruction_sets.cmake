# S2S_INSTRUCTION_SETS: the instruction sets the kernels are compiled for, weakest first; S2S_FLAGS_<isa>: their options.
# The one place that chooses among them at run time is csrc/ops/backend.cpp.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(S2S_INSTRUCTION_SETS sse4 avx2 avx512)
  set(S2S_FLAGS_sse4 -march=x86-64-v2)
  set(S2S_FLAGS_avx2 -march=x86-64-v3)
  set(S2S_FLAGS_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
else()
  # Plain vector code for any other processor; compiled, not tuned.
  set(S2S_INSTRUCTION_SETS generic)
  set(S2S_FLAGS_generic "")
endif()

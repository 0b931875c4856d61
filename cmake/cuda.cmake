# The CUDA backend: one library beside the extension, opened when a GPU is first asked for. Its CUDA runtime is inside and it
# links the C and C++ libraries only, so the package imports and runs where there is no driver.
#   S2S_CUDA=AUTO      where a CUDA compiler works; elsewhere the package knows why it is without (csrc/core/cuda_build.h)
#            ON, OFF   ON fails where AUTO would do without
#            PYPI      ON, with the compiler of NVIDIA's wheels, which pyproject.toml then requires
#            EMULATED  the same sources as plain C++ on the emulator of tests/simt, for tests
set(S2S_CUDA "AUTO" CACHE STRING "Build the CUDA backend: AUTO, ON, OFF, PYPI or EMULATED")
set(S2S_CUDA_ARCHITECTURES "" CACHE STRING "As CMAKE_CUDA_ARCHITECTURES (empty: the GPUs of this machine, else 90)")
option(S2S_CUDA_TESTS "Build the test kernels and micro-kernels of tests/simt as a library beside the backend" OFF)
option(S2S_COVERAGE "Count which lines the emulated CUDA backend runs (gcov)" OFF)

set(S2S_CUDA_MODES AUTO ON OFF PYPI EMULATED)
if(NOT S2S_CUDA IN_LIST S2S_CUDA_MODES)
  message(FATAL_ERROR "S2S_CUDA is one of ${S2S_CUDA_MODES}, not '${S2S_CUDA}'.")
endif()

file(GLOB S2S_CUDA_KERNELS CONFIGURE_DEPENDS csrc/cuda/*.cu)
file(GLOB S2S_CUDA_HOST CONFIGURE_DEPENDS csrc/cuda/*.cpp)

set(S2S_CUDA_BUILT false)
set(S2S_CUDA_EMULATED false)
set(S2S_CUDA_WHY "") # why there is no backend
set(S2S_CUDA_COMPILER "")

if(S2S_CUDA STREQUAL "OFF")
  set(S2S_CUDA_WHY "S2S_CUDA=OFF")
elseif(S2S_CUDA STREQUAL "EMULATED")
  include(cmake/cuda_emulated.cmake)
else()
  include(cmake/cuda_compiler.cmake)
endif()
if(S2S_CUDA_WHY AND NOT S2S_CUDA MATCHES "^(AUTO|OFF)$")
  message(FATAL_ERROR "S2S_CUDA=${S2S_CUDA}, but ${S2S_CUDA_WHY}.")
endif()

if(S2S_CUDA_BUILT)
  set_target_properties(_cuda_backend PROPERTIES PREFIX "" SUFFIX ".so") # opened by csrc/ops/cuda.cpp, not imported
  target_link_libraries(_cuda_backend PRIVATE s2s_flags)
  target_link_options(_cuda_backend PRIVATE "-Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/cuda_exports.map")
  install(TARGETS _cuda_backend LIBRARY DESTINATION seq2seq_fast)
  if(S2S_CUDA_TESTS)
    include(cmake/cuda_tests.cmake)
  endif()
  message(STATUS "CUDA backend: ${S2S_CUDA_COMPILER}, architectures ${S2S_CUDA_ARCHITECTURES}")
else()
  set(S2S_CUDA_ARCHITECTURES "")
  message(STATUS "CUDA backend: left out: ${S2S_CUDA_WHY}")
endif()

# For csrc/core/cuda_build.cpp.
file(CONFIGURE OUTPUT generated/cuda_options.h @ONLY CONTENT [[
#define S2S_CUDA_BUILT @S2S_CUDA_BUILT@
#define S2S_CUDA_EMULATED @S2S_CUDA_EMULATED@
#define S2S_CUDA_WHY R"why(@S2S_CUDA_WHY@)why"
#define S2S_CUDA_COMPILER "@S2S_CUDA_COMPILER@"
#define S2S_CUDA_ARCHITECTURES "@S2S_CUDA_ARCHITECTURES@"
]])

# The CUDA backend without CUDA: its sources as plain C++ on the emulator of tests/simt. Part of cuda.cmake.
set(S2S_CUDA_BUILT true)
set(S2S_CUDA_EMULATED true)
set(S2S_CUDA_COMPILER "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
set(S2S_CUDA_ARCHITECTURES "the emulator")

# The emulator itself is never compiled with a sanitizer: it tells them what fibers are.
file(GLOB S2S_SIMT_SOURCES CONFIGURE_DEPENDS tests/simt/emulator.cpp tests/simt/simt_*.cpp)
add_library(s2s_simt OBJECT ${S2S_SIMT_SOURCES})
target_include_directories(s2s_simt PRIVATE tests/simt csrc)
target_compile_options(s2s_simt PRIVATE -O2 -Wall -Wextra $<$<BOOL:${S2S_WERROR}>:-Werror>)

set_source_files_properties(${S2S_CUDA_KERNELS} PROPERTIES LANGUAGE CXX)
add_library(_cuda_backend MODULE ${S2S_CUDA_KERNELS} ${S2S_CUDA_HOST} $<TARGET_OBJECTS:s2s_simt>)
target_include_directories(_cuda_backend PRIVATE tests/simt)
target_compile_definitions(_cuda_backend PRIVATE S2S_CUDA_EMULATED)
# Pragmas are nvcc's: unroll.
target_compile_options(_cuda_backend PRIVATE -Wno-unknown-pragmas)
if(S2S_COVERAGE)
  target_compile_options(_cuda_backend PRIVATE -O1 --coverage)
  target_link_options(_cuda_backend PRIVATE --coverage)
elseif(S2S_SANITIZE STREQUAL "THREAD")
  target_compile_options(_cuda_backend PRIVATE -O1 -fsanitize=thread -g1)
  target_link_options(_cuda_backend PRIVATE -fsanitize=thread)
else()
  target_compile_options(_cuda_backend PRIVATE $<IF:$<BOOL:${S2S_SANITIZE}>,-O1,-O2>)
endif()

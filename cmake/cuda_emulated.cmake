# The CUDA backend without CUDA: its kernels as plain C++ on the emulator of tests/simt. Part of cuda.cmake.
set(S2S_CUDA_BUILT true)
set(S2S_CUDA_EMULATED true)
set(S2S_CUDA_COMPILER "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
set(S2S_CUDA_ARCHITECTURES "the emulator")

file(GLOB S2S_EMULATOR CONFIGURE_DEPENDS tests/simt/*.cpp)
# It finds the sanitizers by itself, and its own accesses are not to be watched.
set_source_files_properties(${S2S_EMULATOR} PROPERTIES COMPILE_OPTIONS -fno-sanitize=all)
set_source_files_properties(${S2S_CUDA_KERNELS} PROPERTIES LANGUAGE CXX)
add_library(_cuda_backend MODULE ${S2S_CUDA_KERNELS} ${S2S_CUDA_HOST} ${S2S_EMULATOR})
target_include_directories(_cuda_backend PRIVATE tests/simt)
target_compile_definitions(_cuda_backend PRIVATE S2S_CUDA_EMULATED)

if(S2S_COVERAGE)
  target_compile_options(_cuda_backend PRIVATE -O0 --coverage)
  target_link_options(_cuda_backend PRIVATE --coverage)
elseif(S2S_SANITIZE STREQUAL "THREAD")
  target_compile_options(_cuda_backend PRIVATE -O1 -fsanitize=thread -g)
  target_link_options(_cuda_backend PRIVATE -fsanitize=thread)
else()
  target_compile_options(_cuda_backend PRIVATE $<IF:$<BOOL:${S2S_SANITIZE}>,-O1,-O2>)
endif()

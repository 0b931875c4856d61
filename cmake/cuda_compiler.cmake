# Finds a CUDA compiler that works, and builds the backend with it; else S2S_CUDA_WHY says what is wrong. Part of cuda.cmake.
# FindCUDAToolkit is not asked: it fails on NVIDIA's wheels, and the compiler knows where its runtime is.

# The wheels of NVIDIA that this Python sees, in a build's own environment or elsewhere.
execute_process(OUTPUT_VARIABLE wheels OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND "${Python_EXECUTABLE}" -c
  "import glob, sys; print(*[root for path in sys.path for root in glob.glob(path + '/nvidia/cu1[0-9]')], sep=';', end='')")

unset(S2S_NVCC CACHE)
if(S2S_CUDA STREQUAL "PYPI")
  find_program(S2S_NVCC nvcc PATHS ${wheels} PATH_SUFFIXES bin NO_DEFAULT_PATH)
elseif(CMAKE_CUDA_COMPILER)
  set(S2S_NVCC "${CMAKE_CUDA_COMPILER}")
elseif(DEFINED ENV{CUDACXX})
  find_program(S2S_NVCC "$ENV{CUDACXX}")
else()
  find_program(S2S_NVCC nvcc HINTS ENV CUDAToolkit_ROOT ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
endif()
set(toolkit "")
foreach(wheel IN LISTS wheels)
  if(S2S_NVCC MATCHES "^${wheel}/")
    set(toolkit "-L${wheel}/lib") # nvcc itself would look in lib64, which the wheels have not
  endif()
endforeach()

# What to compile for: the GPUs that the driver's tool lists, of the generations whose instructions the kernels use (8.0 on).
if(NOT S2S_CUDA_ARCHITECTURES)
  set(gpus "")
  find_program(S2S_NVIDIA_SMI nvidia-smi)
  if(S2S_NVIDIA_SMI)
    execute_process(COMMAND "${S2S_NVIDIA_SMI}" --query-gpu=compute_cap --format=csv,noheader OUTPUT_VARIABLE gpus ERROR_QUIET)
  endif()
  string(REPLACE "." "" gpus "${gpus}")
  string(REGEX MATCHALL "[89][0-9]|1[0-9][0-9]" S2S_CUDA_ARCHITECTURES "${gpus}")
  list(REMOVE_DUPLICATES S2S_CUDA_ARCHITECTURES)
  if(NOT S2S_CUDA_ARCHITECTURES)
    set(S2S_CUDA_ARCHITECTURES 90)
  endif()
endif()

# Does it compile a kernel for them, with this C++ compiler? CMake would end the whole build at a compiler that does not.
if(NOT CMAKE_CUDA_HOST_COMPILER)
  if("$ENV{CUDAHOSTCXX}" STREQUAL "")
    set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
  else()
    set(CMAKE_CUDA_HOST_COMPILER "$ENV{CUDAHOSTCXX}") # enable_language would read it, too, but only after the probe
  endif()
endif()
if(MSVC OR NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  set(S2S_CUDA_WHY "the CUDA backend is for Linux")
elseif(NOT S2S_NVCC)
  set(S2S_CUDA_WHY "no CUDA compiler (nvcc) was found")
else()
  set(codes "")
  foreach(architecture IN LISTS S2S_CUDA_ARCHITECTURES)
    string(REGEX REPLACE "-.*" "" number "${architecture}") # 80 of 80-real
    list(APPEND codes -gencode "arch=compute_${number},code=sm_${number}")
  endforeach()
  file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/cuda_probe.cu" "#include <cooperative_groups.h>\n#include <cuda_runtime_api.h>\n"
    "#if CUDART_VERSION < 13000\n#error CUDA 13.0 or newer is needed\n#endif\n__global__ void probe() {}\n")
  execute_process(
    COMMAND "${S2S_NVCC}" -std=c++20 -ccbin "${CMAKE_CUDA_HOST_COMPILER}" ${codes} ${toolkit} -Xcompiler -fPIC -shared -cudart static
      cuda_probe.cu -o cuda_probe.so
    WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    set(S2S_CUDA_WHY "the CUDA compiler ${S2S_NVCC} does not work")
    if(output MATCHES "[^\n]*([Ee]rror|fatal)[^\n]*")
      string(APPEND S2S_CUDA_WHY " (${CMAKE_MATCH_0})")
    endif()
  endif()
endif()

if(NOT S2S_CUDA_WHY)
  set(S2S_CUDA_BUILT true)
  set(CMAKE_CUDA_COMPILER "${S2S_NVCC}")
  set(CMAKE_CUDA_ARCHITECTURES "${S2S_CUDA_ARCHITECTURES}")
  string(APPEND CMAKE_CUDA_FLAGS_INIT " ${toolkit}")
  enable_language(CUDA)
  set(S2S_CUDA_COMPILER "nvcc ${CMAKE_CUDA_COMPILER_VERSION}")

  # Spilled registers and arrays in local memory are warnings, and errors in CI.
  set(ptxas -warn-spills,-warn-lmem-usage$<$<BOOL:${S2S_WERROR}>:,-Werror>)
  set(s2s_cuda_options "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;-O3;-Xptxas=${ptxas};\
-Xcompiler=-Wall,-Wextra$<$<BOOL:${S2S_WERROR}>:,-Werror>>")

  # The host code launches kernels, too.
  set_source_files_properties(${S2S_CUDA_HOST} PROPERTIES LANGUAGE CUDA)
  add_library(_cuda_backend MODULE ${S2S_CUDA_KERNELS} ${S2S_CUDA_HOST})
  set_target_properties(_cuda_backend PROPERTIES CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden CUDA_STANDARD_REQUIRED OFF)
  target_include_directories(_cuda_backend SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_compile_options(_cuda_backend PRIVATE "${s2s_cuda_options}")
endif()

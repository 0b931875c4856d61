// CUDA on a CPU, for tests: a kernel's source, compiled as plain C++, runs with every CUDA thread as a fiber
// of one OS thread. csrc/cuda/detail/simt.h includes this wherever the compiler is not nvcc; the folder
// stands on the include path and its .cpp files are linked in. README.md says what it sees and what it
// cannot.
#pragma once

#define S2S_EMULATED 1

#include "simt_types.h"
//
#include "simt_atomics.h"
#include "simt_groups.h"
#include "simt_half.h"
#include "simt_math.h"
#include "simt_runtime.h"
#include "simt_threads.h"
#include "simt_warp.h"

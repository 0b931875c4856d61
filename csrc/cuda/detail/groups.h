// CUDA's cooperative groups, for kernels that use them: the header takes longer to compile than most kernels,
// so simt.h is without.
#pragma once

#include "cuda/detail/simt.h"

#if defined(__CUDACC__)
#include <cooperative_groups.h>
#endif

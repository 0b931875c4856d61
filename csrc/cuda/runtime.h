// Devices, streams and memory, for the kernels' host code and for the rest of the program (backend.cpp).
#pragma once

#include <cstddef>

#include "core/device.h"
#include "cuda/backend.h"
#include "cuda/detail/simt.h"

namespace s2s::cuda {

void use(int index);  // makes it this thread's device, in its default stream unless it is that already
void use_stream(void* stream);
void* new_stream();
void free_stream(void* stream);
void order(void* earlier, void* later);

std::shared_ptr<void> allocate(size_t bytes);
void zero(void* to, size_t bytes);
void copy(void* to, const void* from, size_t bytes);
void copy_in(void* to, const void* host, size_t bytes);
void copy_out(void* host, const void* from, size_t bytes);
void synchronize();
void repeat(void (*step)(void*), void* context, const int32_t* again, int64_t most);
void release_memory();

int device_count(char* why, size_t size, int* driver, int* runtime);
void device_info(int index, CudaDeviceInfo* info);
int device_of(const void* memory);

}  // namespace s2s::cuda

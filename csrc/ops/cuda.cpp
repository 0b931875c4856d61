#include "ops/cuda.h"

#include <atomic>
#include <cstring>
#include <stdexcept>

#include "core/cuda_build.h"
#include "core/error.h"
#include "core/fork.h"

#if defined(__linux__)
#include <dlfcn.h>
#include <sys/stat.h>
#endif

namespace s2s {
namespace {

struct Found {
  const CudaBackend* backend = nullptr;
  CudaStatus status;
  uint64_t forks = fork_count();  // when the library was opened
};

#if defined(__linux__)

constexpr const char* kLibrary = "_cuda_backend.so";  // beside this library

std::string library_path() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&cuda_status), &info) == 0 || info.dli_fname == nullptr) return {};
  const std::string here = info.dli_fname;
  const size_t slash = here.rfind('/');
  return (slash == std::string::npos ? std::string() : here.substr(0, slash + 1)) + kLibrary;
}

// Never closed: the driver's threads and the process's memory pool live in it.
void open(Found& found) {
  const std::string path = library_path();
  struct stat file{};
  if (path.empty() || stat(path.c_str(), &file) != 0) {
    found.status.error = text("this package was built without CUDA: ", cuda_build().why);
    return;
  }
  found.status.built = true;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    found.status.error = text("the CUDA backend could not be loaded: ", dlerror());
    return;
  }
  void* symbol = dlsym(library, "s2s_cuda_backend");
  const CudaBackend* backend = symbol ? reinterpret_cast<decltype(&s2s_cuda_backend)>(symbol)() : nullptr;
  if (backend == nullptr || backend->abi != kCudaAbi || std::strcmp(backend->version, S2S_VERSION) != 0) {
    found.status.error = "the CUDA backend beside this package is of another build";
    return;
  }
  found.backend = backend;
  found.status.loaded = true;
}

#else

void open(Found& found) {
  found.status.error = "the CUDA backend exists for Linux only";
}

#endif

std::atomic<bool> asked{false};

const Found& found() {
  static const Found once = [] {
    asked = true;
    Found f;
    open(f);
    if (f.backend == nullptr) return f;
    char why[512] = "";
    f.status.emulated = f.backend->emulated;
    f.status.devices = f.backend->device_count(why, sizeof(why), &f.status.driver, &f.status.runtime);
    if (f.status.devices == 0) f.status.error = why;
    return f;
  }();
  return once;
}

}  // namespace

const CudaStatus& cuda_status() {
  return found().status;
}

const CudaBackend& cuda() {
  const Found& f = found();
  if (fork_count() != f.forks)
    throw std::runtime_error("CUDA cannot be used after fork(): start the process by spawn or forkserver.");
  if (f.status.devices == 0) throw std::runtime_error("CUDA cannot be used: " + f.status.error + ".");
  return *f.backend;
}

void release_cuda_memory() {
  if (!asked) return;
  if (const Found& f = found(); f.status.devices > 0 && fork_count() == f.forks) f.backend->release_memory();
}

const Kernels& kernels(Device device) {
  if (device.is_cpu()) return kernels();
  const CudaBackend& backend = cuda();
  backend.memory->use(device.index);
  return *backend.kernels;
}

namespace {

[[maybe_unused]] const bool registered = [] {
  set_device_backend(Device::kCuda, []() -> const DeviceApi& { return *cuda().memory; });
  return true;
}();

}  // namespace
}  // namespace s2s

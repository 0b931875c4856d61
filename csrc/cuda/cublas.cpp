// One handle per device, used by one thread at a time; its workspace is the call's own, in stream order, so
// that streams do not meet in it and the algorithm that is chosen does not depend on them.
#include "cuda/cublas.h"

#include <dlfcn.h>

#include <climits>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "cuda/detail/simt.h"

namespace s2s::cuda {
namespace {

constexpr size_t kWorkspace = size_t{8} << 20;

// The few declarations of cublas_v2.h and library_types.h that are used.
using Handle = struct cublasContext*;
enum Operation : int { kPlain = 0, kTransposed = 1 };
enum DataType : int { kFloat32 = 0, kFloat16 = 2, kBFloat16 = 14 };
constexpr int kComputeFloat32 = 68, kDefaultAlgorithm = -1;

struct Functions {
  int (*create)(Handle*);
  int (*set_stream)(Handle, cudaStream_t);
  int (*set_workspace)(Handle, void*, size_t);
  int (*gemm)(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
              const void*, void*, int, int, int, int);
};

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

bool find_all(void* library, Functions& f) {
  if (!library) return false;
#if defined(S2S_CUDA_EMULATED)
  if (!dlsym(library, "s2s_emulated_cublas")) return false;  // a real one would look for a GPU
#endif
  return find(library, "cublasCreate_v2", f.create) && find(library, "cublasSetStream_v2", f.set_stream) &&
         find(library, "cublasSetWorkspace_v2", f.set_workspace) && find(library, "cublasGemmEx", f.gemm);
}

class Library {
 public:
  void set_path(const char* path) {
    const std::lock_guard lock(mutex_);
    if (path_ == (path ? path : "")) return;
    path_ = path ? path : "";
    searched_ = found_ = false;
    handles_.clear();  // those of another library stay as they are: others may use it
  }
  bool available() {
    const std::lock_guard lock(mutex_);
    return handle() != nullptr;
  }
  bool multiply(const LibraryProduct& x);

 private:
  void search();
  Handle handle();

  std::mutex mutex_;
  std::string path_;
  bool searched_ = false, found_ = false;
  Functions functions_{};
  std::map<int, Handle> handles_;  // by device; null: it could not be made
};

// Asked at each product, so that a process may have some with the library and some without.
bool kept_out() {
  const char* wanted = std::getenv("S2S_CUBLAS");
  return wanted && std::strcmp(wanted, "0") == 0;
}

// What is opened stays open.
void Library::search() {
  if (searched_) return;
  searched_ = true;
  const char* const names[] = {"libcublas.so.13", "libcublas.so.12"};
  const auto open = [&](const char* name, int flags) {
    return found_ || (found_ = find_all(dlopen(name, RTLD_NOW | RTLD_LOCAL | flags), functions_));
  };
  for (const char* name : names) open(name, RTLD_NOLOAD);
  if (!path_.empty()) open(path_.c_str(), 0);
  for (const char* name : names) open(name, 0);
}

Handle Library::handle() {
  if (kept_out()) return nullptr;
  search();
  if (!found_) return nullptr;
  int device = 0;
  check(cudaGetDevice(&device));
  const auto [at, fresh] = handles_.try_emplace(device, nullptr);
  if (fresh && functions_.create(&at->second) != 0) at->second = nullptr;
  return at->second;
}

DataType data_type(ComputeType type) {
  return type == ComputeType::float16 ? kFloat16 : type == ComputeType::bfloat16 ? kBFloat16 : kFloat32;
}

// The library's matrices lie column by column: it makes c^T [n, m] = b^T a^T, of which b, as it is packed, is
// b^T transposed, and a is a^T as it is where its k lie together.
bool Library::multiply(const LibraryProduct& x) {
  const bool together = x.a_k_stride == 1;
  const int64_t a_stride = together ? x.a_row_stride : x.a_k_stride;
  if (!together && x.a_row_stride != 1) return false;
  for (const int64_t size : {x.m, x.n, x.k, a_stride, x.b_stride, x.c_stride}) {
    if (size > INT_MAX || size < 1) return false;
  }
  const std::lock_guard lock(mutex_);
  const Handle h = handle();
  if (!h) return false;
  const Scratch workspace(kWorkspace);
  const float one = 1.0f, beta = x.accumulate ? 1.0f : 0.0f;
  const auto size = [](int64_t n) { return static_cast<int>(n); };
  const DataType type = data_type(x.type);
  return functions_.set_stream(h, current_stream()) == 0 &&
         functions_.set_workspace(h, workspace.as<void>(), kWorkspace) == 0 &&
         functions_.gemm(h, kTransposed, together ? kPlain : kTransposed, size(x.n), size(x.m), size(x.k),
                         &one, x.b, type, size(x.b_stride), x.a, type, size(a_stride), &beta, x.c, kFloat32,
                         size(x.c_stride), kComputeFloat32, kDefaultAlgorithm) == 0;
}

Library& library() {
  static Library& only = *new Library;  // lives on while the process ends
  return only;
}

}  // namespace

void set_cublas(const char* path) {
  library().set_path(path);
}

bool has_library() {
  return library().available();
}

bool library_matmul(const LibraryProduct& product) {
  return library().multiply(product);
}

}  // namespace s2s::cuda

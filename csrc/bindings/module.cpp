#include "bindings/module.h"

#include <pybind11/stl.h>

#include "bindings/gil.h"
#include "bindings/search.h"
#include "bindings/session.h"
#include "core/cuda_build.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/memory.h"
#include "core/spin.h"
#include "core/threads.h"
#include "ops/backend.h"
#include "ops/cuda.h"
#include "ops/kernels.h"

namespace s2s {

namespace py = pybind11;

namespace {

// Python calls the handlers of signals in its main thread only, so that none but its searches look, and not
// often: for the lock they may have to wait for another thread.
unsigned long main_thread = 0;
constexpr int64_t kBetweenLooks = 100'000'000;  // ns

void check_signals() {
  thread_local int64_t next_look = 0;
  if (PyThread_get_thread_ident() != main_thread) return;
  const int64_t now = nanoseconds_now();
  if (now < next_look) return;
  next_look = now + kBetweenLooks;
  const GilAcquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

}  // namespace

void bind_runtime(py::module_& m) {
  main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  interrupt_check = &check_signals;
  m.attr("__version__") = S2S_VERSION;
  m.def(
      "cpu_isa", [] { return kernels().name; },
      "The instruction set in use, chosen at the first call of a kernel: the strongest of cpu_isas(), or the "
      "one that the\nenvironment variable S2S_CPU_ISA names. Raises RuntimeError where it names none of "
      "them.");
  m.def("cpu_isas", &cpu_isas,
        "The instruction sets that this processor and this build have in common, weakest first.");
  m.def(
      "cpu_multiplies_bfloat16", [] { return kernels().round != nullptr; },
      "Whether the instruction set in use has products of bfloat16 by bfloat16, which training in bfloat16 "
      "takes.");
  m.def("compiled_isas", &compiled_isas, "The instruction sets of this build, weakest first.");
  m.def(
      "cuda_build",
      [] {
        const CudaBuild& b = cuda_build();
        return py::dict(py::arg("built") = b.built, py::arg("emulated") = b.emulated, py::arg("why") = b.why,
                        py::arg("compiler") = b.compiler, py::arg("architectures") = b.architectures);
      },
      "What this package was built with for CUDA: whether, why not, by which compiler, for which "
      "architectures.");
  m.def("set_num_threads", &set_num_threads, py::arg("threads"));
  m.def("get_num_threads", &get_num_threads);
  m.def("memory_stats", [] {
    const MemoryStats s = memory_stats();
    return py::dict(py::arg("in_use") = s.in_use, py::arg("kept") = s.kept,
                    py::arg("system_calls") = s.system_calls);
  });
  m.def("release_memory", [] {
    release_memory();
    release_cuda_memory();
  });
}

}  // namespace s2s

PYBIND11_MODULE(_native, m) {
  m.doc() = "The native core of seq2seq_fast. Private: use the package's public modules.";
  pybind11::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const s2s::type_error& e) {
      pybind11::set_error(PyExc_TypeError, e.what());
    }
  });
  s2s::bind_runtime(m);
  s2s::bind_device_array(m);
  s2s::bind_ops(m);
  s2s::bind_optimizers(m);
  s2s::bind_layer(m);
  s2s::bind_search(m);
  s2s::bind_session(m);
  s2s::bind_model(m);
  s2s::bind_forecast(m);
}

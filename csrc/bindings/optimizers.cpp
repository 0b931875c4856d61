#include "ops/optimizers.h"

#include <cmath>
#include <limits>

#include "bindings/array.h"
#include "bindings/gil.h"
#include "bindings/module.h"
#include "core/error.h"
#include "ops/check.h"
#include "ops/norm.h"

namespace s2s {
namespace {

// An update without the interpreter's lock; at its end the change is counted.
class Update {
 public:
  explicit Update(const Tensor& written) : device_(written.device()) {}
  ~Update() {
    if (!device_.is_cpu()) count_device_write();
  }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

 private:
  GilRelease unlocked_;
  Device device_;
};

// A buffer of an optimiser: written, and as long as param.
Tensor state(const char* op, const char* name, const py::object& array, const Tensor& param) {
  const Tensor t = writable({op, name}, array);
  ops::expect(op, name, t, param.shape());
  ops::common_device(op, {&param, &t});
  return t;
}

// One that is read only.
Tensor like(const char* op, const char* name, const py::object& array, const Tensor& param) {
  const Tensor t = floats({op, name}, array);
  ops::expect(op, name, t, param.shape());
  ops::common_device(op, {&param, &t});
  return t;
}

// The mask where the parameters are; undefined for None.
Tensor mask_of(const char* op, const py::object& mask, const Tensor& param) {
  if (mask.is_none()) return {};
  const bool numpy = py::isinstance<py::array>(mask);
  if (numpy && !py::isinstance<py::array_t<uint8_t, py::array::c_style>>(mask)) {
    throw type_error(text("[", op, "] Expected mask as a contiguous array of uint8."));
  }
  const Tensor bytes = any_array({op, "mask"}, mask);
  ops::expect_dtype(op, "mask", bytes, DType::u8);
  const int64_t blocks = (param.size() + kMaskBlock - 1) / kMaskBlock;
  check(op, bytes.size() == blocks, "Expected mask of ", blocks, " bytes, one for every ", kMaskBlock,
        " parameters, got ", bytes.size(), ".");
  return bytes.to(param.device());
}

}  // namespace

void bind_optimizers(py::module_& m) {
  m.def(
      "adam_",
      [](const py::object& param, const py::object& grad, const py::object& m_, const py::object& v_,
         int64_t step, double lr, double beta1, double beta2, double eps, double weight_decay, bool decoupled,
         const py::object& mask) {
        const char* op = "adam_";
        const Tensor p = writable({op, "param"}, param), g = like(op, "grad", grad, p),
                     first = state(op, "m", m_, p), second = state(op, "v", v_, p);
        const Tensor blocks = mask_of(op, mask, p);
        const AdamArgs args{p.size(), p.f32(), g.f32(), first.f32(),  second.f32(), blocks.u8(), lr,
                            beta1,    beta2,   eps,     weight_decay, step,         decoupled};
        const Update update(p);
        ops::adam(args, p.device());
      },
      py::arg("param"), py::arg("grad"), py::arg("m"), py::arg("v"), py::arg("step"), py::arg("lr"),
      py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"), py::arg("decoupled"),
      py::arg("mask") = py::none());
  m.def(
      "sgd_",
      [](const py::object& param, const py::object& grad, const py::object& momentum_buffer, double lr,
         double momentum, double weight_decay, bool nesterov, bool first, const py::object& mask) {
        const char* op = "sgd_";
        const Tensor p = writable({op, "param"}, param), g = like(op, "grad", grad, p);
        const Tensor buffer =
            momentum_buffer.is_none() ? Tensor() : state(op, "momentum_buffer", momentum_buffer, p);
        const Tensor blocks = mask_of(op, mask, p);
        const SgdArgs args{p.size(), p.f32(),  g.f32(),      buffer.f32(), blocks.u8(),
                           lr,       momentum, weight_decay, nesterov,     first};
        const Update update(p);
        ops::sgd(args, p.device());
      },
      py::arg("param"), py::arg("grad"), py::arg("momentum_buffer"), py::arg("lr"), py::arg("momentum"),
      py::arg("weight_decay"), py::arg("nesterov"), py::arg("first"), py::arg("mask") = py::none());
  m.def(
      "adagrad_",
      [](const py::object& param, const py::object& grad, const py::object& sum, double lr, double eps,
         double weight_decay, const py::object& mask) {
        const char* op = "adagrad_";
        const Tensor p = writable({op, "param"}, param), g = like(op, "grad", grad, p),
                     s = state(op, "sum", sum, p);
        const Tensor blocks = mask_of(op, mask, p);
        const AdagradArgs args{p.size(), p.f32(), g.f32(), s.f32(), blocks.u8(), lr, eps, weight_decay};
        const Update update(p);
        ops::adagrad(args, p.device());
      },
      py::arg("param"), py::arg("grad"), py::arg("sum"), py::arg("lr"), py::arg("eps"),
      py::arg("weight_decay"), py::arg("mask") = py::none());
  m.def(
      "average_",
      [](const py::object& average, const py::object& param, double weight) {
        const char* op = "average_";
        const Tensor a = writable({op, "average"}, average), p = like(op, "param", param, a);
        const Update update(a);
        ops::average({a.size(), a.f32(), p.f32(), weight}, a.device());
      },
      py::arg("average"), py::arg("param"), py::arg("weight"));
  m.def("squared_norm", [](const py::object& x) {
    const Tensor t = floats({"squared_norm", "x"}, x);
    GilRelease unlocked;
    return ops::squared_norm(t);
  });
  m.def("scale_", [](const py::object& x, float factor) {
    const Tensor t = writable({"scale_", "x"}, x);
    const Update update(t);
    ops::scale(t, factor);
  });
}

}  // namespace s2s

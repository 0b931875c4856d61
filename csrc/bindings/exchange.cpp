#include "bindings/exchange.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/dlpack.h"
#include "bindings/gil.h"
#include "core/error.h"
#include "ops/cuda.h"

namespace s2s {
namespace {

using dlpack::DLManagedTensor;

// Streams in the two protocols: 1 is the legacy default stream, which is null in CUDA itself.
constexpr intptr_t kLegacyStream = 1;

intptr_t stream_number(void* stream) {
  return stream ? reinterpret_cast<intptr_t>(stream) : kLegacyStream;
}
void* stream_of(intptr_t number) {
  return number == kLegacyStream ? nullptr : reinterpret_cast<void*>(number);
}

struct Element {
  DType dtype;
  dlpack::TypeCode code;
  const char* typestr;
};
constexpr Element kElements[] = {{DType::f32, dlpack::kFloat, "<f4"},
                                 {DType::i32, dlpack::kInt, "<i4"},
                                 {DType::i64, dlpack::kInt, "<i8"},
                                 {DType::u8, dlpack::kUInt, "|u1"}};

const Element& element_of(DType dtype) {
  for (const Element& e : kElements) {
    if (e.dtype == dtype) return e;
  }
  throw std::logic_error("[device_array] unknown dtype");
}

[[noreturn]] void refuse_dtype(Argument a, const std::string& got) {
  throw type_error(
      text("[", a.op, "] Expected ", a.name, " of dtype float32, int32, int64 or uint8, got ", got, "."));
}

void check_contiguous(Argument a, const Shape& shape, const int64_t* strides, int64_t unit) {
  int64_t expected = unit;
  for (int i = shape.rank() - 1; strides && i >= 0; --i) {
    check(a.op, shape[i] <= 1 || strides[i] == expected, "Expected ", a.name,
          " to be contiguous: make a contiguous copy first.");
    expected *= shape[i];
  }
}

}  // namespace

Tensor from_cuda_array_interface(Argument a, const py::object& object) {
  const auto face = object.attr("__cuda_array_interface__").cast<py::dict>();
  const auto dims = face["shape"].cast<std::vector<int64_t>>();
  check(a.op, dims.size() <= static_cast<size_t>(Shape::kMaxRank), "Expected ", a.name, " of at most ",
        Shape::kMaxRank, " dimensions, got ", dims.size(), ".");
  const Shape shape(dims.data(), static_cast<int>(dims.size()));
  const auto typestr = face["typestr"].cast<std::string>();
  const Element* element = nullptr;
  for (const Element& e : kElements) {
    if (typestr == e.typestr) element = &e;
  }
  if (element == nullptr) refuse_dtype(a, typestr);
  if (face.contains("strides") && !face["strides"].is_none()) {
    const auto strides = face["strides"].cast<std::vector<int64_t>>();
    check_contiguous(a, shape, strides.data(), size_of(element->dtype));
  }
  if (shape.size() == 0) return Tensor::empty(shape, element->dtype, Device::cuda(0));
  void* data = reinterpret_cast<void*>(face["data"].cast<py::tuple>()[0].cast<uintptr_t>());
  const CudaBackend& backend = cuda();
  const int index = backend.device_of(data);
  check(a.op, index >= 0, "Expected ", a.name, " in the memory of a CUDA device.");
  backend.memory->use(index);
  if (face.contains("stream") && !face["stream"].is_none())
    backend.order(stream_of(face["stream"].cast<intptr_t>()), backend.current_stream());
  auto* held = new py::object(object);
  return Tensor::wrap(data, shape, element->dtype,
                      std::shared_ptr<void>(held,
                                            [](void* p) {
                                              GilAcquire lock;
                                              delete static_cast<py::object*>(p);
                                            }),
                      Device::cuda(index));
}

Tensor from_dlpack(Argument a, const py::object& object) {
  const auto where = object.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  if (where.first != dlpack::kCuda) return {};
  const CudaBackend& backend = cuda();
  backend.memory->use(where.second);
  const auto capsule = object.attr("__dlpack__")(py::arg("stream") = stream_number(backend.current_stream()));
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (managed == nullptr) throw py::error_already_set();
  PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  const std::shared_ptr<void> owner(managed, [](void* p) {
    GilAcquire lock;
    auto* m = static_cast<DLManagedTensor*>(p);
    if (m->deleter) m->deleter(m);
  });
  const dlpack::DLTensor& t = managed->tensor;
  check(a.op, t.ndim <= Shape::kMaxRank, "Expected ", a.name, " of at most ", Shape::kMaxRank,
        " dimensions, got ", t.ndim, ".");
  const Shape shape(t.shape, t.ndim);
  const Element* element = nullptr;
  for (const Element& e : kElements) {
    if (t.dtype.code == e.code && t.dtype.bits == 8 * size_of(e.dtype) && t.dtype.lanes == 1) element = &e;
  }
  if (element == nullptr)
    refuse_dtype(a, text("DLPack type ", int{t.dtype.code}, " of ", int{t.dtype.bits}, " bits"));
  if (shape.size() == 0) return Tensor::empty(shape, element->dtype, Device::cuda(t.device.id));
  check_contiguous(a, shape, t.strides, 1);
  return Tensor::wrap(static_cast<char*>(t.data) + t.byte_offset, shape, element->dtype, owner,
                      Device::cuda(t.device.id));
}

namespace {

// What an exported tensor needs until its consumer lets it go.
struct Exported {
  DLManagedTensor managed;
  Tensor tensor;
  std::vector<int64_t> shape;
  void* consumer;  // its stream
};

}  // namespace

py::capsule to_dlpack(const Tensor& t, const py::object& stream) {
  const CudaBackend& backend = cuda();
  backend.memory->use(t.device().index);
  auto exported = std::make_unique<Exported>();
  exported->consumer = stream_of(stream.is_none() ? kLegacyStream : stream.cast<intptr_t>());
  if (stream.is_none() || stream.cast<intptr_t>() >= 0)
    backend.order(backend.current_stream(), exported->consumer);
  exported->tensor = t;
  for (int i = 0; i < t.shape().rank(); ++i) exported->shape.push_back(t.shape()[i]);
  const Element& element = element_of(t.dtype());
  exported->managed = {{t.data(),
                        {dlpack::kCuda, t.device().index},
                        t.shape().rank(),
                        {element.code, static_cast<uint8_t>(8 * size_of(t.dtype())), 1},
                        exported->shape.data(),
                        nullptr,
                        0},
                       exported.get(),
                       [](DLManagedTensor* m) {
                         const std::unique_ptr<Exported> gone(static_cast<Exported*>(m->context));
                         count_device_write();  // whatever it wrote
                         device_memory_is_shared(false);
                         try {  // our stream frees the memory, so it waits for the consumer's
                           const CudaBackend& b = cuda();
                           b.memory->use(gone->tensor.device().index);
                           b.order(gone->consumer, b.current_stream());
                         } catch (const std::exception&) {
                         }
                       }};
  device_memory_is_shared(true);
  return py::capsule(&exported.release()->managed, "dltensor", [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // a consumer has it
    auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
    m->deleter(m);
  });
}

py::dict cuda_array_interface(const Tensor& t) {
  py::tuple shape(t.shape().rank());
  for (int i = 0; i < t.shape().rank(); ++i) shape[static_cast<size_t>(i)] = t.shape()[i];
  device_memory_is_shared(true);  // nobody says when it ends
  cuda().memory->use(t.device().index);
  return py::dict(py::arg("shape") = shape, py::arg("typestr") = element_of(t.dtype()).typestr,
                  py::arg("data") = py::make_tuple(reinterpret_cast<uintptr_t>(t.data()), false),
                  py::arg("strides") = py::none(), py::arg("version") = 3,
                  py::arg("stream") = stream_number(cuda().current_stream()));
}

}  // namespace s2s

#include "bindings/device_array.h"

#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/dlpack.h"
#include "bindings/module.h"
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
  void* data = reinterpret_cast<void*>(face["data"].cast<py::tuple>()[0].cast<uintptr_t>());
  const CudaBackend& backend = cuda();
  const int index = data ? backend.device_of(data) : 0;
  check(a.op, index >= 0, "Expected ", a.name, " in the memory of a CUDA device.");
  backend.memory->use(index);
  if (face.contains("stream") && !face["stream"].is_none())
    backend.order(stream_of(face["stream"].cast<intptr_t>()), backend.current_stream());
  auto* held = new py::object(object);
  return Tensor::wrap(data, shape, element->dtype,
                      std::shared_ptr<void>(held,
                                            [](void* p) {
                                              py::gil_scoped_acquire lock;
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
    py::gil_scoped_acquire lock;
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
  check_contiguous(a, shape, t.strides, 1);
  return Tensor::wrap(static_cast<char*>(t.data) + t.byte_offset, shape, element->dtype, owner,
                      Device::cuda(t.device.id));
}

// What an exported tensor needs until its consumer lets it go.
struct Exported {
  DLManagedTensor managed;
  Tensor tensor;
  std::vector<int64_t> shape;
  void* consumer;  // its stream
};

py::capsule to_dlpack(const DeviceArray& array, const py::object& stream) {
  const Tensor& t = array.tensor;
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
                         try {  // our stream frees the memory, so it waits for the consumer's
                           const CudaBackend& b = cuda();
                           b.memory->use(gone->tensor.device().index);
                           b.order(gone->consumer, b.current_stream());
                         } catch (const std::exception&) {
                         }
                       }};
  return py::capsule(&exported.release()->managed, "dltensor", [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // a consumer has it
    auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
    m->deleter(m);
  });
}

py::dict cuda_array_interface(const DeviceArray& array) {
  const Tensor& t = array.tensor;
  py::tuple shape(t.shape().rank());
  for (int i = 0; i < t.shape().rank(); ++i) shape[static_cast<size_t>(i)] = t.shape()[i];
  cuda().memory->use(t.device().index);
  return py::dict(py::arg("shape") = shape, py::arg("typestr") = element_of(t.dtype()).typestr,
                  py::arg("data") = py::make_tuple(reinterpret_cast<uintptr_t>(t.data()), false),
                  py::arg("strides") = py::none(), py::arg("version") = 3,
                  py::arg("stream") = stream_number(cuda().current_stream()));
}

Device parse_device(const std::string& name) {
  if (name == "cuda") return Device::cuda(0);
  check("device",
        name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
            name.find_first_not_of("0123456789", 5) == std::string::npos,
        "Expected device as cpu, cuda or cuda:N, got ", name, ".");
  return Device::cuda(std::stoi(name.substr(5)));
}

}  // namespace

Device device_from(const std::string& name) {
  if (name == "cpu") return Device::cpu();
  const Device device = parse_device(name);
  cuda();  // absent: says why
  check("device", device.index < cuda_status().devices,
        "Expected a device from cuda:0 to cuda:", cuda_status().devices - 1, ", got ", name, ".");
  return device;
}

Tensor device_tensor(Argument a, const py::object& object) {
  if (py::isinstance<DeviceArray>(object)) return object.cast<const DeviceArray&>().tensor;
  if (py::hasattr(object, "__cuda_array_interface__")) return from_cuda_array_interface(a, object);
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__"))
    return from_dlpack(a, object);
  return {};
}

void bind_device_array(py::module_& m) {
  py::class_<DeviceArray>(
      m, "DeviceArray",
      "A row-major array in the memory of a CUDA device. PyTorch, CuPy and JAX take it without a copy "
      "(torch.from_dlpack(a), cupy.asarray(a)).")
      .def_property_readonly("shape",
                             [](const DeviceArray& a) {
                               py::tuple shape(a.tensor.shape().rank());
                               for (int i = 0; i < a.tensor.shape().rank(); ++i)
                                 shape[static_cast<size_t>(i)] = a.tensor.shape()[i];
                               return shape;
                             })
      .def_property_readonly("ndim", [](const DeviceArray& a) { return a.tensor.shape().rank(); })
      .def_property_readonly("size", [](const DeviceArray& a) { return a.tensor.size(); })
      .def_property_readonly("dtype",
                             [](const DeviceArray& a) { return py::dtype(name_of(a.tensor.dtype())); })
      .def_property_readonly("device", [](const DeviceArray& a) { return name_of(a.tensor.device()); })
      .def("__len__",
           [](const DeviceArray& a) {
             if (a.tensor.shape().rank() == 0) throw type_error("len() of an array without dimensions");
             return a.tensor.dim(0);
           })
      .def(
          "numpy", [](const DeviceArray& a) { return numpy_from(a.tensor.to(Device::cpu())); },
          "A copy in the CPU's memory.")
      .def(
          "reshape",
          [](const DeviceArray& a, const py::args& dims) {
            const bool one = dims.size() == 1 && py::isinstance<py::tuple>(dims[0]);
            const py::tuple given = one ? dims[0].cast<py::tuple>() : py::tuple(dims);
            auto shape = given.cast<std::vector<int64_t>>();
            check("reshape", shape.size() <= static_cast<size_t>(Shape::kMaxRank), "Expected at most ",
                  Shape::kMaxRank, " dimensions, got ", shape.size(), ".");
            int64_t known = 1;
            int64_t* free = nullptr;
            for (int64_t& dim : shape) {
              if (dim == -1)
                free = &dim;
              else
                known *= dim;
            }
            if (free) *free = known ? a.tensor.size() / known : 0;
            return DeviceArray{a.tensor.reshape(Shape(shape.data(), static_cast<int>(shape.size())))};
          },
          "The same memory in another shape; -1 stands for what is left.")
      .def(
          "copy_from",
          [](const DeviceArray& a, const py::object& other) {
            const Tensor from = a.tensor.dtype() == DType::f32 ? floats({"copy_from", "array"}, other)
                                                               : ids({"copy_from", "array"}, other);
            py::gil_scoped_release unlocked;
            a.tensor.copy_from(from);
          },
          "Overwrites the array with another of its size, of any device.")
      .def(
          "__dlpack__",
          [](const DeviceArray& a, const py::object& stream, const py::kwargs&) {
            return to_dlpack(a, stream);
          },
          py::arg("stream") = py::none())
      .def("__dlpack_device__",
           [](const DeviceArray& a) { return py::make_tuple(int{dlpack::kCuda}, a.tensor.device().index); })
      .def_property_readonly("__cuda_array_interface__", &cuda_array_interface)
      .def("__repr__", [](const DeviceArray& a) {
        return text("DeviceArray(shape=", a.tensor.shape(), ", dtype=", name_of(a.tensor.dtype()),
                    ", device=", name_of(a.tensor.device()), ")");
      });
  m.def(
      "to_device",
      [](const py::object& array, const std::string& device) {
        const Argument a{"to_device", "array"};
        const Device to = device_from(device);
        Tensor from = device_tensor(a, array);
        if (!from.defined()) {
          check(a.op, py::isinstance<py::array>(array), "Expected array as a numpy array.");
          const auto kind = array.cast<py::array>().dtype();
          if (kind.equal(py::dtype::of<int64_t>()))
            from = int64s(a, array);
          else if (kind.equal(py::dtype::of<int32_t>()))
            from = ids(a, array);
          else
            from = floats(a, array);
        }
        Tensor there;
        {
          py::gil_scoped_release unlocked;
          there = from.to(to);
        }
        return numpy_from(there);
      },
      py::arg("array"), py::arg("device") = "cuda",
      "A copy of an array on a device; the array itself where it is there already.");
  m.def("cuda_status", [] {
    const CudaStatus& s = cuda_status();
    py::list devices;
    for (int i = 0; i < s.devices; ++i) {
      CudaDeviceInfo info{};
      cuda().device_info(i, &info);
      devices.append(py::dict(py::arg("name") = info.name, py::arg("capability") = info.capability,
                              py::arg("multiprocessors") = info.multiprocessors,
                              py::arg("memory") = info.memory));
    }
    return py::dict(py::arg("built") = s.built, py::arg("loaded") = s.loaded,
                    py::arg("emulated") = s.emulated, py::arg("error") = s.error,
                    py::arg("driver") = s.driver, py::arg("runtime") = s.runtime,
                    py::arg("devices") = devices);
  });
  m.def(
      "set_cublas", [](const std::string& path) { cuda().set_cublas(path.empty() ? nullptr : path.c_str()); },
      py::arg("path"));
}

}  // namespace s2s

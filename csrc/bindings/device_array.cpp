#include "bindings/device_array.h"

#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/dlpack.h"
#include "bindings/exchange.h"
#include "bindings/gil.h"
#include "bindings/module.h"
#include "core/error.h"
#include "ops/cuda.h"
#include "ops/rows.h"

namespace s2s {
namespace {

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
  // DLPack first: its producer waits for its own stream, which PyTorch's __cuda_array_interface__ does not
  // name.
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__"))
    return from_dlpack(a, object);
  if (py::hasattr(object, "__cuda_array_interface__")) return from_cuda_array_interface(a, object);
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
          "numpy",
          [](const DeviceArray& a) {
            Tensor copy;
            {
              GilRelease unlocked;
              copy = a.tensor.to(Device::cpu());
            }
            return numpy_from(copy);
          },
          "A copy in the CPU's memory, once all work on the array is done.")
      .def("__array__",
           [](const DeviceArray& a, const py::args&, const py::kwargs&) -> py::object {
             throw type_error(
                 text("This DeviceArray lies on ", name_of(a.tensor.device()),
                      ", where numpy cannot read it: .numpy() gives a copy in the CPU's memory."));
           })
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
          "view",
          [](const DeviceArray& a, int64_t offset, const std::vector<int64_t>& dims) {
            check("view", dims.size() <= static_cast<size_t>(Shape::kMaxRank), "Expected at most ",
                  Shape::kMaxRank, " dimensions, got ", dims.size(), ".");
            const Shape shape(dims.data(), static_cast<int>(dims.size()));
            const int64_t size = shape.size();
            check("view", offset >= 0 && size >= 0 && offset <= a.tensor.size() - size,
                  "Expected a part of the ", a.tensor.size(), " elements, got ", size, " from ", offset,
                  " on.");
            return DeviceArray{a.tensor.reshape({a.tensor.size()}).rows(offset, size).reshape(shape)};
          },
          py::arg("offset"), py::arg("shape"), "Some of the elements, from the offset on: the same memory.")
      .def(
          "copy_from",
          [](const DeviceArray& a, const py::object& other) {
            const Tensor from = a.tensor.dtype() == DType::f32 ? floats({"copy_from", "array"}, other)
                                                               : ids({"copy_from", "array"}, other);
            GilRelease unlocked;
            a.tensor.copy_from(from);
            count_device_write();
          },
          "Overwrites the array with another of its size, of any device.")
      .def(
          "__dlpack__",
          [](const DeviceArray& a, const py::object& stream, const py::kwargs&) {
            return to_dlpack(a.tensor, stream);
          },
          py::arg("stream") = py::none())
      .def("__dlpack_device__",
           [](const DeviceArray& a) { return py::make_tuple(int{dlpack::kCuda}, a.tensor.device().index); })
      .def_property_readonly("__cuda_array_interface__",
                             [](const DeviceArray& a) { return cuda_array_interface(a.tensor); })
      .def("__repr__", [](const DeviceArray& a) {
        return text("DeviceArray(shape=", a.tensor.shape(), ", dtype=", name_of(a.tensor.dtype()),
                    ", device=", name_of(a.tensor.device()), ")");
      });
  m.def(
      "to_device",
      [](const py::object& array, const std::string& device) {
        const Device to = device_from(device);
        const Tensor from = any_array({"to_device", "array"}, array);
        Tensor there;
        {
          GilRelease unlocked;
          there = from.to(to);
        }
        return numpy_from(there);
      },
      py::arg("array"), py::arg("device") = "cuda",
      "A copy of an array on a device; the array itself where it is there already.");
  m.def(
      "as_array",
      [](const std::string& op, const std::string& name, const py::object& value) {
        return array_object({op.c_str(), name.c_str()}, value);
      },
      "What an array of another library is here: a numpy array or a DeviceArray of the same memory.");
  m.def(
      "zeros",
      [](const std::vector<int64_t>& dims, const std::string& device) {
        return numpy_from(Tensor::zeros(Shape(dims.data(), static_cast<int>(dims.size())), DType::f32,
                                        device_from(device)));
      },
      py::arg("shape"), py::arg("device") = "cpu");
  m.def("swap_axes", [](const py::object& x) {
    const Tensor a = floats({"swap_axes", "x"}, x);
    Tensor y;
    {
      GilRelease unlocked;
      y = ops::swap_axes(a);
    }
    return numpy_from(y);
  });
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

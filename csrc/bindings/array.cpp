#include "bindings/array.h"

#include <algorithm>
#include <new>
#include <string>

#include "bindings/device_array.h"
#include "bindings/gil.h"
#include "core/error.h"

namespace s2s {
namespace {

std::string type_name(const py::object& object) {
  return py::str(py::type::of(object).attr("__name__"));
}

// An array of another library that lies on the CPU as a numpy view of it; anything else as it is.
py::object numpy_view(Argument a, const py::object& object) {
  if (py::isinstance<py::array>(object) || !py::hasattr(object, "__dlpack_device__")) return object;
  try {
    return py::module_::import("numpy").attr("from_dlpack")(object);
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception)) throw;
    throw type_error(text("[", a.op, "] Expected ", a.name, " as an array that numpy can view, got ",
                          type_name(object), ": ", std::string(py::str(error.value()))));
  }
}

// Throws TypeError unless `given` is an array of the CPU of one of two dtypes.
py::array checked(Argument a, const py::object& given, const py::dtype& first, const py::dtype& second,
                  const char* want) {
  const py::object object = numpy_view(a, given);
  if (!py::isinstance<py::array>(object)) {
    throw type_error(text("[", a.op, "] Expected ", a.name, " as a numpy array of ", want, ", got ",
                          type_name(object), "."));
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().equal(first) && !array.dtype().equal(second)) {
    throw type_error(text("[", a.op, "] Expected ", a.name, " of dtype ", want, ", got ",
                          std::string(py::str(array.dtype())), "."));
  }
  check(a.op, array.ndim() <= Shape::kMaxRank, "Expected ", a.name, " of at most ", Shape::kMaxRank,
        " dimensions, got ", array.ndim(), ".");
  auto ready = py::array::ensure(array, static_cast<int>(py::array::c_style) |
                                            static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_));
  if (!ready) throw std::bad_alloc();  // no memory for a contiguous copy
  return ready;
}

Shape shape_of(const py::array& array) {
  int64_t dims[Shape::kMaxRank];
  for (py::ssize_t i = 0; i < array.ndim(); ++i) dims[i] = array.shape(i);
  return Shape(dims, static_cast<int>(array.ndim()));
}

// The array lives as long as the tensor; it is let go with the interpreter's lock held.
std::shared_ptr<void> owner_of(py::array array) {
  return std::shared_ptr<void>(new py::array(std::move(array)), [](void* held) {
    GilAcquire lock;
    delete static_cast<py::array*>(held);
  });
}

Tensor view(const py::array& array, DType dtype) {
  return Tensor::wrap(const_cast<void*>(array.data()), shape_of(array), dtype, owner_of(array));
}

// An array of another device than the CPU; undefined for one of the CPU.
Tensor elsewhere(Argument a, const py::object& object, DType dtype, const char* want) {
  if (py::isinstance<py::array>(object)) return {};
  Tensor t = device_tensor(a, object);
  if (t.defined() && t.dtype() != dtype) {
    throw type_error(
        text("[", a.op, "] Expected ", a.name, " of dtype ", want, ", got ", name_of(t.dtype()), "."));
  }
  return t;
}

}  // namespace

py::object array_object(Argument a, const py::object& value) {
  if (py::isinstance<py::array>(value) || py::isinstance<DeviceArray>(value)) return value;
  if (const Tensor t = device_tensor(a, value); t.defined()) return numpy_from(t);
  const py::object array = numpy_view(a, value);
  if (!py::isinstance<py::array>(array)) {
    throw type_error(
        text("[", a.op, "] Expected ", a.name, " as a numpy array, got ", type_name(value), "."));
  }
  return array;
}

Tensor any_array(Argument a, const py::object& value) {
  const py::object array = array_object(a, value);
  if (py::isinstance<DeviceArray>(array)) return array.cast<const DeviceArray&>().tensor;
  const auto dtype = py::reinterpret_borrow<py::array>(array).dtype();
  if (dtype.equal(py::dtype::of<int64_t>())) return int64s(a, array);
  if (dtype.equal(py::dtype::of<int32_t>())) return ids(a, array);
  if (const auto u8 = py::dtype::of<uint8_t>(); dtype.equal(u8))
    return view(checked(a, array, u8, u8, "uint8"), DType::u8);
  return floats(a, array);
}

Tensor floats(Argument a, const py::object& object) {
  if (const Tensor t = elsewhere(a, object, DType::f32, "float32"); t.defined()) return t;
  const auto f32 = py::dtype::of<float>();
  return view(checked(a, object, f32, f32, "float32"), DType::f32);
}

Tensor borrowed_floats(Argument a, const py::object& object) {
  constexpr int kReady =
      static_cast<int>(py::array::c_style) | static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if (py::isinstance<py::array>(object)) {
    const auto array = py::reinterpret_borrow<py::array>(object);
    if ((array.flags() & kReady) == kReady && array.ndim() <= Shape::kMaxRank &&
        array.dtype().num() == py::detail::npy_api::NPY_FLOAT_ && array.dtype().byteorder() == '=') {
      return Tensor::wrap(const_cast<void*>(array.data()), shape_of(array), DType::f32, nullptr);
    }
  }
  return floats(a, object);
}

namespace {
constexpr int64_t kPooled = 1 << 15;  // floats: what the C library takes from the system anew
}

std::pair<py::array_t<float>, Tensor> new_floats(const Shape& shape) {
  // Large memory comes from our pool, which has touched it before: the system's would be touched page by
  // page.
  if (shape.size() >= kPooled) {
    const Tensor memory = Tensor::host(shape, DType::f32);
    return {numpy_from(memory), memory};
  }
  // As py::array_t makes one, but for the vectors of dimensions and strides, which take half its time.
  const auto& api = py::detail::npy_api::get();
  Py_intptr_t dims[Shape::kMaxRank];
  for (int i = 0; i < shape.rank(); ++i) dims[i] = shape[i];
  auto array = py::reinterpret_steal<py::array_t<float>>(
      api.PyArray_NewFromDescr_(api.PyArray_Type_, py::dtype::of<float>().release().ptr(), shape.rank(), dims,
                                nullptr, nullptr, 0, nullptr));
  if (!array) throw py::error_already_set();
  const Tensor memory = Tensor::wrap(array.mutable_data(), shape, DType::f32, nullptr);
  return {std::move(array), memory};
}

namespace {

// Ids of another device come to the host, where they are checked.
py::object on_host(Argument a, const py::object& object) {
  if (py::isinstance<py::array>(object)) return object;
  const Tensor t = device_tensor(a, object);
  return t.defined() ? numpy_from(t.to(Device::cpu())) : object;
}

}  // namespace

// Ids and lengths are copied: they are checked before they are used as addresses, and meanwhile another
// thread could change the caller's array.
Tensor ids(Argument a, const py::object& given) {
  const py::object object = on_host(a, given);
  const auto array = checked(a, object, py::dtype::of<int32_t>(), py::dtype::of<int64_t>(), "int32");
  const Tensor copy = Tensor::host(shape_of(array), DType::i32);
  if (array.itemsize() == 4) {
    std::copy_n(static_cast<const int32_t*>(array.data()), copy.size(), copy.i32());
    return copy;
  }
  const auto* wide = static_cast<const int64_t*>(array.data());
  for (int64_t i = 0; i < copy.size(); ++i) {
    const int64_t id = wide[i];
    check(a.op, id >= INT32_MIN && id <= INT32_MAX, "Expected ", a.name, " within the range of int32, got ",
          id, " at position ", i, ".");
    copy.i32()[i] = static_cast<int32_t>(id);
  }
  return copy;
}

Tensor int64s(Argument a, const py::object& given) {
  const py::object object = on_host(a, given);
  const auto array = checked(a, object, py::dtype::of<int64_t>(), py::dtype::of<int32_t>(), "int64");
  const Tensor copy = Tensor::host(shape_of(array), DType::i64);
  if (array.itemsize() == 8) {
    std::copy_n(static_cast<const int64_t*>(array.data()), copy.size(), copy.i64());
  } else {
    std::copy_n(static_cast<const int32_t*>(array.data()), copy.size(), copy.i64());
  }
  return copy;
}

Tensor optional_floats(Argument a, const py::object& array) {
  return array.is_none() ? Tensor() : floats(a, array);
}
Tensor optional_ids(Argument a, const py::object& array) {
  return array.is_none() ? Tensor() : ids(a, array);
}
Tensor optional_int64s(Argument a, const py::object& array) {
  return array.is_none() ? Tensor() : int64s(a, array);
}

Tensor writable(Argument a, const py::object& given) {
  if (const Tensor t = elsewhere(a, given, DType::f32, "float32"); t.defined()) return t;
  const auto f32 = py::dtype::of<float>();
  const py::object object = numpy_view(a, given);
  auto array = checked(a, object, f32, f32, "float32");
  check(a.op, array.is(object) && array.writeable(), "Expected ", a.name,
        " to be contiguous, aligned and writable.");
  return view(array, DType::f32);
}

py::object numpy_from(const Tensor& tensor) {
  if (!tensor.defined()) return py::none();
  if (!tensor.device().is_cpu()) return py::cast(DeviceArray{tensor});
  std::vector<py::ssize_t> shape;
  for (int i = 0; i < tensor.shape().rank(); ++i) shape.push_back(tensor.shape()[i]);
  const py::capsule owner(new Tensor(tensor), [](void* held) { delete static_cast<Tensor*>(held); });
  switch (tensor.dtype()) {
    case DType::i32:
      return py::array_t<int32_t>(shape, tensor.i32(), owner);
    case DType::i64:
      return py::array_t<int64_t>(shape, tensor.i64(), owner);
    case DType::u8:
      return py::array_t<uint8_t>(shape, tensor.u8(), owner);
    default:
      return py::array_t<float>(shape, tensor.f32(), owner);
  }
}

}  // namespace s2s

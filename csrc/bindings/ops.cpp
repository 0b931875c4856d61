#include <pybind11/stl.h>

#include <algorithm>
#include <numeric>

#include "bindings/array.h"
#include "bindings/gil.h"
#include "bindings/module.h"
#include "core/error.h"
#include "math/philox.h"
#include "ops/check.h"
#include "ops/kernels.h"
#include "ops/linear.h"

namespace s2s {
namespace {

using Release = GilRelease;

py::tuple pair(const Tensor& a, const Tensor& b) {
  return py::make_tuple(numpy_from(a), numpy_from(b));
}

void bind_products(py::module_& m) {
  m.def("linear", [](const py::object& x, const py::object& weight, const py::object& bias,
                     const std::string& compute_type) {
    const Tensor a = floats({"linear", "x"}, x), w = floats({"linear", "weight"}, weight),
                 b = optional_floats({"linear", "bias"}, bias);
    const ComputeType type = ops::parse_compute_type("linear", compute_type);
    Tensor y;
    {
      Release unlocked;
      y = ops::linear(a, w, b, type);
    }
    return numpy_from(y);
  });
  m.def("linear_backward", [](const py::object& dy, const py::object& x, const py::object& weight,
                              const std::string& compute_type) {
    const char* op = "linear_backward";
    const ComputeType type = ops::parse_compute_type(op, compute_type);
    const Tensor d = floats({op, "dy"}, dy), a = floats({op, "x"}, x), w = floats({op, "weight"}, weight);
    ops::LinearGradient g;
    {
      Release unlocked;
      g = ops::linear_backward(d, a, w, type);
    }
    return py::make_tuple(numpy_from(g.dx), numpy_from(g.dweight), numpy_from(g.dbias));
  });
  m.def("embedding", [](const py::object& index, const py::object& weight) {
    const Tensor i = ids({"embedding", "ids"}, index), w = floats({"embedding", "weight"}, weight);
    ops::expect_matrix("embedding", "weight", w);
    const DeviceScope scope(w.device());
    const Tensor out = Tensor::empty({i.size(), w.dim(1)});
    {
      Release unlocked;
      ops::embedding(i, w, out);
    }
    return numpy_from(out);
  });
  m.def("embedding_backward", [](const py::object& index, const py::object& dy, int64_t num_embeddings) {
    const char* op = "embedding_backward";
    const Tensor i = ids({op, "ids"}, index), d = floats({op, "dy"}, dy);
    ops::expect_matrix(op, "dy", d);
    const DeviceScope scope(d.device());
    check(op, num_embeddings >= 1, "Expected num_embeddings of at least 1, got ", num_embeddings, ".");
    const Tensor dweight = Tensor::zeros({num_embeddings, d.dim(1)});
    {
      Release unlocked;
      ops::embedding_backward(i, d, dweight);
    }
    return numpy_from(dweight);
  });
}

void bind_softmax(py::module_& m) {
  m.def("softmax", [](const py::object& x, bool log) {
    const Tensor a = floats({log ? "log_softmax" : "softmax", "x"}, x);
    const DeviceScope scope(a.device());
    const Tensor y = Tensor::empty(a.shape());
    {
      Release unlocked;
      ops::softmax(a, y, log);
    }
    return numpy_from(y);
  });
  m.def("softmax_backward", [](const py::object& dy, const py::object& y, bool log) {
    const char* op = log ? "log_softmax_backward" : "softmax_backward";
    const Tensor d = floats({op, "dy"}, dy), out = floats({op, "y"}, y);
    const DeviceScope scope(out.device());
    const Tensor dx = Tensor::empty(out.shape());
    {
      Release unlocked;
      ops::softmax_backward(out, d, dx, log);
    }
    return numpy_from(dx);
  });
  m.def("cross_entropy",
        [](const py::object& logits, const py::object& targets, int32_t ignore_index, float smoothing) {
          const char* op = "cross_entropy";
          const Tensor z = floats({op, "logits"}, logits), t = ids({op, "targets"}, targets);
          ops::expect_matrix(op, "logits", z);
          ops::expect(op, "targets", t, {z.dim(0)}, DType::i32);
          ops::check_targets(op, t.i32(), t.size(), z.dim(1), ignore_index);
          const DeviceScope scope(z.device());
          const Tensor expected = t.to(z.device());
          const Tensor losses = Tensor::empty({z.dim(0)}), d = Tensor::empty(z.shape());
          {
            Release unlocked;
            ops::cross_entropy({z.dim(0), z.dim(1), z.f32(), expected.i32(), ignore_index, smoothing, 1.0f,
                                losses.f32(), nullptr, nullptr, d.f32()},
                               z.device());
          }
          return pair(losses, d);
        });
  m.def("ctc_loss", [](const py::object& logits, const py::object& lengths, const py::object& targets,
                       const py::object& target_lengths, int32_t blank, bool zero_infinity) {
    const char* op = "ctc_loss";
    const Tensor z = floats({op, "logits"}, logits), l = ids({op, "lengths"}, lengths);
    const ops::CtcTargets t{ids({op, "targets"}, targets), ids({op, "target_lengths"}, target_lengths)};
    ops::expect_matrix(op, "logits", z);
    const Tensor offsets = ops::ctc_offsets(l, z.dim(0));
    const DeviceScope scope(z.device());
    const Tensor losses = Tensor::empty({l.size()}), d = Tensor::empty(z.shape());
    {
      Release unlocked;
      ops::ctc_loss(z, offsets, t, blank, zero_infinity, 1.0f, losses, d);
    }
    return pair(losses, d);
  });
  m.def("topk", [](const py::object& x, int64_t k) {
    const Tensor a = floats({"topk", "x"}, x);
    ops::expect_matrix("topk", "x", a);
    check("topk", k >= 1 && k <= a.dim(1), "Expected k from 1 to ", a.dim(1), ", got ", k, ".");
    const DeviceScope scope(a.device());
    const Tensor values = Tensor::empty({a.dim(0), k}), indices = Tensor::empty({a.dim(0), k}, DType::i32);
    Tensor found;
    {
      Release unlocked;
      ops::topk(a, false, values, indices);
      found = indices.to(Device::cpu());
    }
    for (int64_t r = 0; r < a.dim(0); ++r) {
      check("topk", found.i32()[r * k] >= 0, "Expected x without NaN, got NaN in row ", r, ".");
    }
    return pair(values, indices);
  });
  m.def("project_topk", [](const py::object& x, const py::object& weight, const py::object& bias, int64_t k,
                           const std::string& compute_type) {
    const char* op = "project_topk";
    const Tensor a = floats({op, "x"}, x), w = floats({op, "weight"}, weight),
                 b = optional_floats({op, "bias"}, bias);
    const ComputeType type = ops::parse_compute_type(op, compute_type);
    ops::expect_matrix(op, "x", a);
    ops::expect_matrix(op, "weight", w);
    check(op, a.dim(1) == w.dim(1), "Expected x of width ", w.dim(1), " like weight, got ", a.dim(1), ".");
    check(op, k >= 1 && k <= w.dim(0), "Expected k from 1 to ", w.dim(0), ", got ", k, ".");
    const DeviceScope scope(a.device());
    const Tensor values = Tensor::empty({a.dim(0), k}), indices = Tensor::empty({a.dim(0), k}, DType::i32);
    Tensor found;
    {
      Release unlocked;
      ops::project_topk(a, false, ops::pack_transposed(w, 0, type), b, values, indices);
      found = indices.to(Device::cpu());
    }
    for (int64_t r = 0; r < a.dim(0); ++r) {
      check(op, found.i32()[r * k] >= 0, "Expected x, weight and bias of finite logits, got none in row ", r,
            ".");
    }
    return pair(values, indices);
  });
}

// keys, values, lengths, energy as Python gives them.
ops::Attention attention_memory(const char* op, const py::object& keys, const py::object& values,
                                const py::object& lengths, const py::object& energy) {
  ops::Attention a{floats({op, "keys"}, keys),
                   floats({op, "values"}, values),
                   {},
                   optional_floats({op, "energy"}, energy),
                   0};
  return ops::with_lengths(op, a, ids({op, "lengths"}, lengths));
}

void bind_attention(py::module_& m) {
  m.def("attention", [](const py::object& query, const py::object& keys, const py::object& values,
                        const py::object& lengths, const py::object& example, const py::object& energy) {
    const char* op = "attention";
    const ops::Attention memory = attention_memory(op, keys, values, lengths, energy);
    const Tensor q = floats({op, "query"}, query), e = ids({op, "example"}, example);
    const DeviceScope scope(q.device());
    ops::expect_ids(op, "example", e, memory.offsets.size() - 1);
    const Tensor context = Tensor::empty({q.dim(0), memory.values.dim(1)}),
                 weights = Tensor::empty({q.dim(0), memory.longest});
    {
      Release unlocked;
      ops::attention(memory, q, e, context, weights);
    }
    return pair(context, weights);
  });
  m.def("attention_backward", [](const py::object& dcontext, const py::object& query, const py::object& keys,
                                 const py::object& values, const py::object& lengths,
                                 const py::object& example, const py::object& energy,
                                 const py::object& dweights) {
    const char* op = "attention_backward";
    const ops::Attention memory = attention_memory(op, keys, values, lengths, energy);
    const Tensor d = floats({op, "dcontext"}, dcontext), q = floats({op, "query"}, query),
                 e = ids({op, "example"}, example),
                 from_weights = dweights.is_none() ? Tensor() : floats({op, "dweights"}, dweights);
    const DeviceScope scope(q.device());
    ops::expect_ids(op, "example", e, memory.offsets.size() - 1);
    const Tensor context = Tensor::empty({q.dim(0), memory.values.dim(1)}),
                 weights = Tensor::empty({q.dim(0), memory.longest}), dquery = Tensor::empty(q.shape()),
                 dkeys = Tensor::zeros(memory.keys.shape()), dvalues = Tensor::zeros(memory.values.shape());
    Tensor denergy;
    {
      Release unlocked;
      ops::attention(memory, q, e, context, weights);
      const Tensor partial =
          memory.energy.defined() ? Tensor::zeros({memory.offsets.size() - 1, q.dim(1)}) : Tensor();
      ops::attention_backward(memory, q, e, context, weights, d, from_weights, dquery, dkeys, dvalues,
                              partial);
      if (partial.defined()) {
        denergy = Tensor::zeros({q.dim(1)});
        ops::column_sum(partial, denergy);
      }
    }
    return py::make_tuple(numpy_from(dquery), numpy_from(dkeys), numpy_from(dvalues), numpy_from(denergy));
  });
}

void bind_layer_norm(py::module_& m) {
  m.def("layer_norm", [](const py::object& x, const py::object& weight, const py::object& bias, float eps) {
    const char* op = "layer_norm";
    const Tensor a = floats({op, "x"}, x), w = floats({op, "weight"}, weight), b = floats({op, "bias"}, bias);
    const DeviceScope scope(a.device());
    const Tensor y = Tensor::empty(a.shape());
    {
      Release unlocked;
      ops::layer_norm(a, w, b, eps, y);
    }
    return numpy_from(y);
  });
  m.def("layer_norm_backward", [](const py::object& dy, const py::object& x, const py::object& weight,
                                  float eps) {
    const char* op = "layer_norm_backward";
    const Tensor d = floats({op, "dy"}, dy), a = floats({op, "x"}, x), w = floats({op, "weight"}, weight);
    ops::expect_matrix(op, "x", a);
    const DeviceScope scope(a.device());
    const Tensor dx = Tensor::empty(a.shape()), parts = Tensor::empty(a.shape()),
                 dweight = Tensor::zeros({a.dim(1)}), dbias = Tensor::zeros({a.dim(1)});
    {
      Release unlocked;
      ops::layer_norm_backward(a, w, eps, d, dx, parts);
      ops::column_sum(parts, dweight);
      ops::column_sum(d, dbias);
    }
    return py::make_tuple(numpy_from(dx), numpy_from(dweight), numpy_from(dbias));
  });
}

// example None: no mask but its expectation.
ops::Zoneout zoneout_mask(const char* op, float p, uint64_t seed, uint32_t update, int32_t op_id,
                          int32_t stream, const py::object& example, const py::object& time, Device device) {
  if (example.is_none()) return {.p = p, .example = {}, .time = {}};
  return {p,
          int64s({op, "example"}, example).to(device),
          ids({op, "time"}, time).to(device),
          op_id,
          stream,
          seed,
          update};
}

void bind_random(py::module_& m) {
  m.def("dropout", [](const py::object& x, float p, uint64_t seed, uint32_t update, int32_t op_id,
                      const py::object& example, const py::object& time) {
    const char* op = "dropout";
    const Tensor a = floats({op, "x"}, x), e = int64s({op, "example"}, example), t = ids({op, "time"}, time);
    const DeviceScope scope(a.device());
    const Tensor y = Tensor::empty(a.shape());
    {
      Release unlocked;
      ops::dropout(a, y, e, t, op_id, {p, seed, update});
    }
    return numpy_from(y);
  });
  m.def("zoneout", [](const py::object& before, const py::object& x, float p, uint64_t seed, uint32_t update,
                      int32_t op_id, int32_t stream, const py::object& example, const py::object& time) {
    const char* op = "zoneout";
    const Tensor b = floats({op, "before"}, before), a = floats({op, "x"}, x);
    const ops::Zoneout mask = zoneout_mask(op, p, seed, update, op_id, stream, example, time, a.device());
    const DeviceScope scope(a.device());
    const Tensor y = Tensor::empty(a.shape());
    {
      Release unlocked;
      ops::zoneout(b, a, mask, y, {});
    }
    return numpy_from(y);
  });
  m.def("zoneout_backward", [](const py::object& dy, float p, uint64_t seed, uint32_t update, int32_t op_id,
                               int32_t stream, const py::object& example, const py::object& time) {
    const char* op = "zoneout_backward";
    const Tensor d = floats({op, "dy"}, dy);
    const ops::Zoneout mask = zoneout_mask(op, p, seed, update, op_id, stream, example, time, d.device());
    const DeviceScope scope(d.device());
    const Tensor dx = Tensor::empty(d.shape()), dbefore = Tensor::empty(d.shape());
    {
      Release unlocked;
      ops::zoneout_backward(d, mask, dx, dbefore);
    }
    return pair(dx, dbefore);
  });
  m.def(
      "philox", [](const py::array_t<uint32_t, py::array::c_style>& counters, uint32_t key0, uint32_t key1) {
        check("philox", counters.ndim() == 2 && counters.shape(1) == 4, "Expected counter of shape [R, 4].");
        py::array_t<uint32_t> out({counters.shape(0), py::ssize_t{4}});
        for (py::ssize_t r = 0; r < counters.shape(0); ++r) {
          const uint32_t* c = counters.data(r, 0);
          const math::Philox words = math::philox(math::Philox{{c[0], c[1], c[2], c[3]}}, key0, key1);
          std::copy_n(words.word, 4, out.mutable_data(r, 0));
        }
        return out;
      });
  m.def("sample", [](const py::object& x, const py::object& u) {
    const char* op = "sample";
    const Tensor a = floats({op, "x"}, x), numbers = floats({op, "u"}, u);
    ops::expect_matrix(op, "x", a);
    ops::common_device(op, {&a, &numbers});
    const Tensor index = Tensor::host({a.dim(0)}, DType::i32);
    std::iota(index.i32(), index.i32() + index.size(), 0);
    const Tensor host = Tensor::host({a.dim(0)}, DType::i32);
    std::fill_n(host.i32(), host.size(), -1);
    const Tensor found = host.to(a.device());
    Tensor back;
    {
      Release unlocked;
      ops::sample(a, numbers.to(Device::cpu()), index, found);
      back = found.to(Device::cpu());
    }
    for (int64_t r = 0; r < a.dim(0); ++r)
      check(op, back.i32()[r] >= 0, "Expected x with a finite largest element in each row, got none in row ",
            r, ".");
    return numpy_from(found);
  });
}

}  // namespace

void bind_ops(py::module_& m) {
  bind_products(m);
  bind_softmax(m);
  bind_attention(m);
  bind_layer_norm(m);
  bind_random(m);
}

}  // namespace s2s

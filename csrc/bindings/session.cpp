#include "bindings/session.h"

#include <string>
#include <utility>

#include "bindings/array.h"
#include "bindings/gil.h"
#include "model/session.h"

namespace s2s {

namespace {

using model::Session;

// What `work` returns, computed without the GIL.
template <class Work>
auto unlocked(const Work& work) {
  GilRelease release;
  return work();
}

py::list state_of(Session& session) {
  py::list all;
  for (const auto& [name, values] : unlocked([&] { return session.state(); })) {
    all.append(py::make_tuple(name, numpy_from(values)));
  }
  return all;
}

void restore(Session& session, const py::list& arrays) {
  Session::State state;
  for (const auto& item : arrays) {
    const auto pair = item.cast<std::pair<std::string, py::object>>();
    const Argument argument{"restore", pair.first.c_str()};
    const bool first = state.empty();  // the rows' sources
    state.emplace_back(pair.first, first ? ids(argument, pair.second) : floats(argument, pair.second));
  }
  unlocked([&] { session.restore(state); });
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<Session>(m, "Session")
      .def("step",
           [](Session& self, const py::object& parents, const py::object& tokens) {
             const Tensor p = ids({"step", "parents"}, parents), t = ids({"step", "tokens"}, tokens);
             return numpy_from(unlocked([&] { return self.step(p, t); }));
           })
      .def("attention", [](Session& self) { return numpy_from(unlocked([&] { return self.attention(); })); })
      .def("log_probs", [](Session& self) { return numpy_from(unlocked([&] { return self.log_probs(); })); })
      .def("fork", [](Session& self) { return unlocked([&] { return self.fork(); }); })
      .def("state", &state_of)
      .def("restore", &restore)
      .def("memory", [](const Session& self) { return numpy_from(self.memory().states.to(Device::cpu())); })
      .def("last", [](const Session& self) {
        py::list layers;
        for (const model::State& state : self.memory().last) {
          layers.append(
              py::make_tuple(numpy_from(state.h.to(Device::cpu())), numpy_from(state.c.to(Device::cpu()))));
        }
        return layers;
      });
}

}  // namespace s2s

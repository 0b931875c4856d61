// The interpreter's lock, let go of and taken for a scope. A thread that asks for it while the interpreter
// shuts down (a daemon thread's call that was under way) never gets it: Python before 3.14 ends the thread
// there, by an unwinding that destructors may not let through, so that the process would be aborted. It stays
// where it is instead until the process has ended.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace s2s {

template <class F>
void take_or_stay(const F& take) noexcept {
  try {
    take();
  } catch (...) {  // nothing else comes out of it
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    take_or_stay([this] { PyEval_RestoreThread(state_); });
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

class GilAcquire {
 public:
  GilAcquire() {
    take_or_stay([this] { state_ = PyGILState_Ensure(); });
  }
  ~GilAcquire() { PyGILState_Release(state_); }
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;

 private:
  PyGILState_STATE state_;
};

}  // namespace s2s

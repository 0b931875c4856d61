// The recurrences by every route, on random numbers: each route, schedule and team must give the bits that
// one kernel per step gives in order. (That those are right, the Python suite tests.)
//   recurrences ROUTES SCHEDULES     each a list, comma-separated; prints what differs and returns 1 if
//   anything does
// With -DTRAINING_ONLY the kernels of inference need not be linked.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cuda/detail/layout.h"
#include "cuda/table.h"
#include "entry.h"
#include "ops/gru_inference.h"
#include "simt_schedule.h"

namespace s2s::cuda {
namespace {

// One call's arrays, on the device.
class Arrays {
 public:
  explicit Arrays(uint32_t seed) : random_(seed) {}

  float* normal(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    std::normal_distribution<float> draw;
    for (float& v : values) v = draw(random_);
    return copy(values.data(), n);
  }
  // Packed weights: rows of a uniform distribution, zeros behind them.
  template <class T = float>
  const T* weights(ComputeType type, int64_t rows, int64_t K) {
    const int64_t pitch = row_bytes(type, K), scales = type == ComputeType::int8 ? rows * 4 : 0;
    std::vector<char> bytes(static_cast<size_t>(rows * pitch + scales), 0);
    std::uniform_real_distribution<float> draw(-1.0f / static_cast<float>(K), 1.0f / static_cast<float>(K));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < K; ++k) {
        const float w = draw(random_);
        char* to = &bytes[static_cast<size_t>(r * pitch + k * element_bytes(type))];
        const uint16_t half = type == ComputeType::float16 ? math::half_bits(w) : math::bfloat_bits(w);
        const int8_t q = static_cast<int8_t>(w * static_cast<float>(K) * 127.0f);
        if (type == ComputeType::float32)
          std::memcpy(to, &w, 4);
        else if (type == ComputeType::int8)
          std::memcpy(to, &q, 1);
        else
          std::memcpy(to, &half, 2);
      }
      const float scale = 1.0f / (127.0f * static_cast<float>(K + r % 3));
      if (scales > 0) std::memcpy(&bytes[static_cast<size_t>(rows * pitch + r * 4)], &scale, 4);
    }
    return reinterpret_cast<const T*>(copy(bytes.data(), static_cast<int64_t>(bytes.size())));
  }
  // What a kernel writes (or reads and writes) is part of the result.
  float* result(int64_t n, float* initial = nullptr) {
    if (initial == nullptr) {
      memory_.emplace_back(static_cast<size_t>(n) * 4);
      initial = memory_.back().as<float>();
    }
    results_.emplace_back(initial, n);
    return initial;
  }
  float* changed(int64_t n) { return result(n, normal(n)); }
  float* zeros(int64_t n) {
    const std::vector<float> values(static_cast<size_t>(n), 0.0f);
    return result(n, copy(values.data(), n));
  }

  std::vector<uint32_t> bits() const {
    std::vector<uint32_t> all;
    for (const auto& [from, n] : results_) {
      const size_t at = all.size();
      all.resize(at + static_cast<size_t>(n));
      check(cudaMemcpyAsync(&all[at], from, static_cast<size_t>(n) * 4, cudaMemcpyDeviceToHost,
                            current_stream()));
    }
    check(cudaStreamSynchronize(current_stream()));
    return all;
  }

 private:
  template <class T>
  T* copy(const T* host, int64_t n) {
    memory_.emplace_back(static_cast<size_t>(n) * sizeof(T));
    check(cudaMemcpyAsync(memory_.back().as<T>(), host, static_cast<size_t>(n) * sizeof(T),
                          cudaMemcpyHostToDevice, current_stream()));
    return memory_.back().as<T>();
  }

  std::mt19937 random_;
  std::vector<Scratch> memory_;
  std::vector<std::pair<float*, int64_t>> results_;
};

struct Case {
  std::vector<int> lengths;  // longest first
  int64_t H;
  bool reverse;
};

struct Shape {
  std::vector<int64_t> sizes, offsets;
  SequenceShape shape;
  int64_t N, R, H;

  explicit Shape(const Case& c) : N(static_cast<int64_t>(c.lengths.size())), H(c.H) {
    offsets.push_back(0);
    for (int t = 0; t < c.lengths[0]; ++t) {
      int64_t running = 0;
      for (const int length : c.lengths) running += length > t;
      sizes.push_back(running);
      offsets.push_back(offsets.back() + running);
    }
    R = offsets.back();
    shape = {N, c.lengths[0], c.H, sizes.data(), offsets.data(), c.reverse};
  }
};

using Op = std::function<void(const Shape&, Arrays&)>;
constexpr ComputeType kFloat = ComputeType::float32;
constexpr StepProducts kProducts{};  // of the CPU

void lstm_forward(const Shape& s, Arrays& a) {
  lstm({s.shape, kProducts, a.changed(s.R * 4 * s.H), a.weights(kFloat, 4 * s.H, s.H), a.normal(s.N * s.H),
        a.normal(s.N * s.H), a.result(s.R * s.H), s.H, a.result(s.R * s.H), a.result(s.R * s.H),
        a.result(s.N * s.H), a.result(s.N * s.H)});
}
void lstm_gradient(const Shape& s, Arrays& a) {
  lstm_backward({s.shape, kProducts, a.changed(s.R * 4 * s.H), a.weights(kFloat, s.H, 4 * s.H),
                 a.normal(s.R * s.H), a.normal(s.R * s.H), s.H, a.changed(s.N * s.H), a.changed(s.N * s.H)});
}
template <bool AFTER>
void gru_forward(const Shape& s, Arrays& a) {
  gru({s.shape, kProducts, AFTER, a.changed(s.R * 3 * s.H), a.weights(kFloat, (AFTER ? 3 : 2) * s.H, s.H),
       AFTER ? nullptr : a.weights(kFloat, s.H, s.H), a.normal(3 * s.H), a.normal(s.N * s.H),
       a.result(s.R * s.H), s.H, a.result(s.R * s.H), a.result(s.R * s.H), a.result(s.N * s.H)});
}
template <bool AFTER>
void gru_gradient(const Shape& s, Arrays& a) {
  gru_backward({s.shape, kProducts, AFTER, a.changed(s.R * 3 * s.H), a.result(s.R * s.H),
                a.weights(kFloat, s.H, 2 * s.H), a.weights(kFloat, s.H, s.H), a.normal(s.R * s.H),
                a.normal(s.R * s.H), a.normal(s.R * s.H), s.H, a.changed(s.N * s.H), nullptr});
}
#if !defined(TRAINING_ONLY)
template <ComputeType TYPE, bool IN_PLACE>
void lstm_given(const Shape& s, Arrays& a) {
  float* h = IN_PLACE ? a.changed(s.N * s.H) : a.normal(s.N * s.H);
  lstm_inference({s.shape, a.normal(s.R * 4 * s.H), TYPE, a.weights<void>(TYPE, 4 * s.H, s.H), h, nullptr,
                  a.result(s.R * s.H), s.H, IN_PLACE ? h : a.result(s.N * s.H), a.result(s.N * s.H), nullptr,
                  false});
}
template <ComputeType TYPE, bool AFTER, bool IN_PLACE>
void gru_given(const Shape& s, Arrays& a) {
  float* h = IN_PLACE ? a.changed(s.N * s.H) : nullptr;
  gru_inference({s.shape, AFTER, a.normal(s.R * 3 * s.H), TYPE,
                 a.weights<void>(TYPE, (AFTER ? 3 : 2) * s.H, s.H),
                 AFTER ? nullptr : a.weights<void>(TYPE, s.H, s.H), a.normal(3 * s.H), h, a.zeros(s.N),
                 a.result(s.R * s.H), s.H, IN_PLACE ? h : a.result(s.N * s.H), nullptr, false});
}
#endif

const std::pair<const char*, Op> kOps[] = {
    {"lstm", lstm_forward},
    {"lstm_backward", lstm_gradient},
    {"gru", gru_forward<true>},
    {"gru, reset before", gru_forward<false>},
    {"gru_backward", gru_gradient<true>},
    {"gru_backward, reset before", gru_gradient<false>},
#if !defined(TRAINING_ONLY)
    {"lstm_inference", lstm_given<ComputeType::float32, true>},
    {"lstm_inference float16", lstm_given<ComputeType::float16, false>},
    {"lstm_inference bfloat16", lstm_given<ComputeType::bfloat16, true>},
    {"lstm_inference int8", lstm_given<ComputeType::int8, true>},
    {"gru_inference", gru_given<ComputeType::float32, true, false>},
    {"gru_inference float16", gru_given<ComputeType::float16, false, true>},
    {"gru_inference bfloat16", gru_given<ComputeType::bfloat16, false, false>},
    {"gru_inference int8", gru_given<ComputeType::int8, true, true>},
    {"gru_inference int8, reset before", gru_given<ComputeType::int8, false, true>},
#endif
};

// One step; more sequences than a tile; a hidden size that is no multiple of 4, or has units for two a
// thread.
const Case kCases[] = {{{3, 2, 2, 1}, 9, false},
                       {{3, 2, 2, 1}, 9, true},
                       {{1}, 12, false},
                       {{2, 2, 2, 2, 2, 2, 2, 1, 1, 1}, 5, true},
                       {{2, 1, 1, 1, 1}, 50, false}};

std::vector<std::string> split(const char* text) {
  std::vector<std::string> parts(1);
  for (; *text; ++text) {
    if (*text == ',') {
      parts.emplace_back();
    } else {
      parts.back() += *text;
    }
  }
  return parts;
}

std::vector<uint32_t> run(const Op& op, const Case& c, const std::string& route,
                          const std::string& schedule) {
  setenv("S2S_CUDA_RECURRENCE", route.c_str(), 1);
  if (!s2s_simt_schedule(schedule.c_str())) throw std::runtime_error("no schedule: " + schedule);
  const Shape shape(c);
  Arrays arrays(7);
  op(shape, arrays);
  return arrays.bits();
}

bool near(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    float x, y;
    std::memcpy(&x, &a[i], 4);
    std::memcpy(&y, &b[i], 4);
    if (!(std::fabs(x - y) < 0.02f)) return false;
  }
  return true;
}

int compare(const char* routes, const char* schedules) {
  int wrong = 0;
  for (const auto& [name, op] : kOps) {
    const bool rounded = std::strstr(name, "float16") != nullptr;
    for (const Case& c : kCases) {
      const auto complain = [&](const std::string& what) {
        std::printf("%s, %d x %d, %s\n", name, static_cast<int>(c.lengths.size()), static_cast<int>(c.H),
                    what.c_str());
        ++wrong;
      };
      const std::vector<uint32_t> step = run(op, c, "step", "in-order");
      const std::vector<uint32_t> team = run(op, c, "grid:1x1", "in-order");
      if (rounded && !near(step, team)) complain("grid:1x1 is far from step");
      for (const std::string& schedule : split(schedules)) {
        for (const std::string& route : split(routes)) {
          const bool as_step = !rounded || route == "step";
          if (run(op, c, route, schedule) != (as_step ? step : team))
            complain(route + ", " + schedule + ": other bits");
        }
      }
    }
  }
  return wrong > 0 ? 1 : 0;
}

}  // namespace
}  // namespace s2s::cuda

int main(int count, char** words) {
  if (count != 3) return 2;
  try {
    return s2s::cuda::compare(words[1], words[2]);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}

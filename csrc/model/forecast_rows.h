// What a forecasting network's pass leaves, and how it moves rows between windows and steps.
#pragma once

#include "model/forecast_network.h"
#include "ops/rows.h"

namespace s2s::model {

struct ForecastNetwork::Forward {
  Encoder::Saved encoder_saved;
  Memory memory;
  std::vector<State> initial;
  Context::Prepared prepared;
  Decoder::Saved decoder_saved;
  Tensor raw;            // [R, D * P]
  Tensor offset, scale;  // [R, D]
  Tensor from_flat;      // int32 [R]
};

// index[t * N + n] = f(t, n), for time-major rows.
template <class F>
Tensor time_major(int64_t steps, int64_t count, const F& f) {
  const Tensor index = Tensor::host({steps * count}, DType::i32);
  for (int64_t t = 0, r = 0; t < steps; ++t) {
    for (int64_t n = 0; n < count; ++n, ++r) index.i32()[r] = static_cast<int32_t>(f(t, n));
  }
  return index.to(current_device());
}

// x [A, B, W] as rows [A * B, W], on the current device.
inline Tensor as_rows(const Tensor& x) {
  return x.to(current_device()).reshape({x.dim(0) * x.dim(1), x.dim(2)});
}

inline Tensor gathered(const Tensor& rows, const Tensor& index) {
  const Tensor out = Tensor::empty({index.size(), rows.dim(1)});
  ops::gather_rows(rows, index, out);
  return out;
}

}  // namespace s2s::model

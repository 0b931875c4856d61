// Sample paths: rows of one decoder step, (window, path) each, from states that are encoded once.
#include <utility>

#include "model/forecast_rows.h"
#include "ops/check.h"
#include "ops/norm.h"

namespace s2s::model {

Tensor ForecastNetwork::sample(const Windows& w, int64_t paths, uint64_t seed) const {
  const char* op = "sample";
  check_windows(op, w, false, false);
  check(op, paths >= 1, "Expected num_samples of at least 1, got ", paths, ".");
  const int64_t N = w.past.lengths.size(), T = w.steps, D = config_.channels, H = config_.history();
  check(op, paths <= INT32_MAX / (N * (H + T) * D), "Expected fewer than 2^31 values of all paths, got ",
        paths, " paths.");
  const int64_t R = N * paths;
  const DeviceScope scope(device_);
  const auto packed = this->packed();

  // Of each row: its window, its example's id, its path.
  const Tensor window = Tensor::host({R}, DType::i32), path = Tensor::host({R}, DType::i32);
  const Tensor example = Tensor::host({R}, DType::i64), itself = Tensor::host({R}, DType::i32);
  for (int64_t r = 0; r < R; ++r) {
    window.i32()[r] = static_cast<int32_t>(r / paths);
    path.i32()[r] = static_cast<int32_t>(r % paths);
    itself.i32()[r] = static_cast<int32_t>(r);
    example.i64()[r] = w.example_ids.defined() ? w.example_ids.i64()[r / paths] : r / paths;
  }
  const Device device = current_device();
  const Tensor window_of = window.to(device), path_of = path.to(device), example_of = example.to(device);
  const Tensor same = itself.to(device);
  // The row of step t in time-major arrays of the windows, for every path.
  const Tensor step_rows = time_major(T, R, [&](int64_t t, int64_t r) { return t * N + r / paths; });
  const Tensor from_flat = time_major(T, N, [&](int64_t t, int64_t n) { return n * T + t; });

  const Tensor offset = offsets(*packed, w, from_flat);
  const Tensor offset_now = offset.defined() ? Tensor::empty({R, D}) : Tensor();
  const Tensor scale = w.scale.defined() ? gathered(w.scale.to(device), window_of) : Tensor();
  const ops::DistributionOf of = distribution(offset_now, scale);
  const Tensor raw = Tensor::empty({R, D * config_.parameters()});
  const Tensor values = Tensor::empty({(H + T) * R, D});  // time-major: what lags read, then what is drawn
  const auto draw = [&](int64_t t) {
    const Tensor rows = step_rows.rows(t * R, R);
    if (offset.defined()) ops::gather_rows(offset, rows, offset_now);
    ops::distribution_sample(raw, of, example_of, path_of, static_cast<int32_t>(t), seed,
                             values.rows((H + t) * R, R));
  };

  if (config_.lags.empty()) {
    const Forward f = forward(*packed, w, {}, false);
    for (int64_t t = 0; t < T; ++t) {
      ops::gather_rows(f.raw, step_rows.rows(t * R, R), raw);
      draw(t);
    }
  } else {
    const Memory memory = encoder_.forward(packed->encoder, w.past, {}, nullptr, nullptr);
    const std::vector<State> encoded = bridge_.forward(packed->bridge, memory);
    const Context::Prepared prepared = decoder_.context().prepare(packed->context, memory);
    ops::gather_rows(as_rows(w.known),
                     time_major(H, R, [&](int64_t h, int64_t r) { return r / paths * H + h; }),
                     values.rows(0, H * R));
    const Tensor covariates = w.covariates.defined() ? gathered(as_rows(w.covariates), from_flat) : Tensor();
    const Ragged ragged = Ragged::single_step(R);
    Decoder::Rows rows = decoder_.make_rows(R, memory.longest, {}, false);
    rows.example = window_of;
    if (config_.network.coverage) {
      Context::fill_places(memory, window, rows.covered.places);
      rows.covered.places = rows.covered.places.to(device);
      rows.covered.sum.fill_zero();
    }
    std::vector<State> now = decoder_.make_states(R), next = decoder_.make_states(R);
    for (size_t l = 0; l < now.size(); ++l) {
      ops::gather_rows(encoded[l].h, window_of, now[l].h);
      if (now[l].c.defined()) ops::gather_rows(encoded[l].c, window_of, now[l].c);
    }
    for (int64_t t = 0; t < T; ++t) {
      int64_t column = 0;
      for (const int64_t lag : config_.lags) {
        ops::gather_rows(values.rows((H + t - lag) * R, R), same, rows.embedded.columns(column, D));
        column += D;
      }
      if (covariates.defined()) {
        ops::gather_rows(covariates, step_rows.rows(t * R, R),
                         rows.embedded.columns(column, config_.covariates));
      }
      if (config_.network.coverage && t > 0) ops::add(rows.weights, rows.covered.sum);
      const bool feeds = config_.network.input_feeding && t > 0;
      decoder_.forward_block(packed->decoder, prepared, ragged, rows, feeds ? rows.attentional : Tensor(),
                             now, next, {});
      std::swap(now, next);
      head_.forward(packed->head, rows.attentional, raw, Activation::none, false);
      draw(t);
    }
  }
  return ops::swap_axes(values.rows(H * R, T * R).reshape({T, R, D}))
      .to(Device::cpu())
      .reshape({N, paths, T, D});
}

}  // namespace s2s::model

// Sample paths: rows of one decoder step, (window, path) each, from states that are encoded once. Rows do not
// depend on each other, so each thread takes its own through all steps, in blocks that stay in its cache.
#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

#include "core/threads.h"
#include "model/forecast_rows.h"
#include "ops/check.h"
#include "ops/norm.h"

namespace s2s::model {
namespace {

// A thread's rows are at least so many that its weights' way through the cache pays.
constexpr int64_t kLeastRows = 16;
// Of a block: its gates, in floats, and the least rows whatever their gates.
constexpr int64_t kGatesInCache = 1 << 15, kLeastBlock = 64;

}  // namespace

// What all rows share.
struct ForecastNetwork::Paths {
  Paths(const Packed& p, const Windows& given, uint64_t s)
      : packed(p), w(given), seed(s), windows(given.past.lengths.size()) {}

  const Packed& packed;
  const Windows& w;
  const uint64_t seed;
  const int64_t windows;
  Tensor window, path, example, itself;  // [R] of a row: its window, path, example's id; 0, 1, 2, ...
  Tensor raw;                            // without lags: [T N, D P] time-major
  Tensor offset, scale, covariates;      // [T N, D] time-major, [N, D], [T N, C] time-major
  Tensor covariate_gates;                // [T N, G H] time-major: what they add to the first layer's gates
  Tensor known;                          // [N history, D]
  Memory memory;
  std::vector<State> encoded;
  Context::Prepared prepared;
};

// Rows [begin, begin + count) on their way through the steps.
class ForecastNetwork::PathBlock {
 public:
  PathBlock(const ForecastNetwork& network, const Paths& paths, int64_t begin, int64_t count)
      : network_(network),
        config_(network.config_),
        all_(paths),
        packed_(paths.packed.decoder),
        count_(count),
        channels_(config_.channels),
        history_(config_.history()),
        window_(paths.window.rows(begin, count)),
        path_(paths.path.rows(begin, count)),
        example_(paths.example.rows(begin, count)),
        raw_(Tensor::empty({count, channels_ * config_.parameters()})),
        values_(Tensor::empty({(history_ + paths.w.steps) * count, channels_})) {
    if (paths.offset.defined()) offset_ = Tensor::empty({count, channels_});
    if (paths.scale.defined()) scale_ = gathered(paths.scale, window_);
    if (!config_.lags.empty()) start();
  }

  // [count, T, D]
  Tensor walk() {
    const int64_t T = all_.w.steps;
    const ops::DistributionOf of = network_.distribution(offset_, scale_);
    for (int64_t t = 0; t < T; ++t) {
      if (config_.lags.empty()) {
        gather_step(all_.raw, t, raw_);
      } else {
        decode(t);
      }
      if (offset_.defined()) gather_step(all_.offset, t, offset_);
      ops::distribution_sample(raw_, of, example_, path_, static_cast<int32_t>(t), all_.seed, values_at(t));
    }
    return ops::swap_axes(values_.rows(history_ * count_, T * count_).reshape({T, count_, channels_}));
  }

 private:
  void start() {
    for (int64_t h = 0; h < history_; ++h) {
      // Window n's value h steps into its history is row n * history + h.
      ops::gather_rows(
          all_.known.reshape({all_.windows, history_ * channels_}).columns(h * channels_, channels_), window_,
          values_at(h - history_));
    }
    const Decoder& decoder = network_.decoder_;
    rows_ = decoder.make_rows(count_, all_.memory.longest, {}, false);
    rows_.example = rows_.ids = window_;
    if (config_.network.coverage) {
      Context::fill_places(all_.memory, window_.to(Device::cpu()), rows_.covered.places);
      rows_.covered.places = rows_.covered.places.to(current_device());
      rows_.covered.sum.fill_zero();
    }
    now_ = decoder.make_states(count_);
    next_ = decoder.make_states(count_);
    for (size_t l = 0; l < now_.size(); ++l) {
      ops::gather_rows(all_.encoded[l].h, window_, now_[l].h);
      if (now_[l].c.defined()) ops::gather_rows(all_.encoded[l].c, window_, now_[l].c);
    }
  }

  void decode(int64_t t) {
    const Tensor same = all_.itself.rows(0, count_);
    int64_t column = 0;
    for (const int64_t lag : config_.lags) {
      ops::gather_rows(values_at(t - lag), same, rows_.embedded.columns(column, channels_));
      column += channels_;
    }
    Tensor feed;
    if (all_.covariate_gates.defined()) {  // a row of the table for each window
      packed_.input_table = all_.covariate_gates.rows(t * all_.windows, all_.windows);
      feed = rows_.embedded.columns(0, column);
    } else {
      if (all_.covariates.defined())
        gather_step(all_.covariates, t, rows_.embedded.columns(column, config_.covariates));
      if (config_.network.input_feeding && t > 0) feed = rows_.attentional;
    }
    if (config_.network.coverage && t > 0) ops::add(rows_.weights, rows_.covered.sum);
    network_.decoder_.forward_block(packed_, all_.prepared, ragged_, rows_, feed, now_, next_, {});
    std::swap(now_, next_);
    network_.head_.forward(all_.packed.head, rows_.attentional, raw_, Activation::none, false);
  }

  // The values of step t, from -history: what lags read, then what is drawn.
  Tensor values_at(int64_t t) const { return values_.rows((history_ + t) * count_, count_); }
  // The rows of step t of what is time-major by window.
  void gather_step(const Tensor& of_windows, int64_t t, const Tensor& rows) const {
    ops::gather_rows(of_windows.rows(t * all_.windows, all_.windows), window_, rows);
  }

  const ForecastNetwork& network_;
  const ForecastConfig& config_;
  const Paths& all_;
  Decoder::Packed packed_;
  const int64_t count_, channels_, history_;
  const Tensor window_, path_, example_, raw_, values_;
  Tensor offset_, scale_;
  const Ragged ragged_ = Ragged::single_step(count_);
  Decoder::Rows rows_;
  std::vector<State> now_, next_;
};

// y [rows, T, D], the host's.
void ForecastNetwork::walk_paths(const Paths& paths, int64_t rows, const Tensor& y) const {
  const CellConfig& cell = config_.network.decoder_stack().cell;
  const bool on_host = device_.is_cpu();
  const int64_t most = on_host ? std::max(kLeastBlock, kGatesInCache / (cell.gates() * cell.hidden)) : rows;
  const int max_parts = on_host ? static_cast<int>(std::clamp<int64_t>(rows / kLeastRows, 1, 256)) : 1;
  std::exception_ptr failure;
  std::mutex failing;
  parallel(max_parts, [&](int part, int parts) {
    const Range range = share_of(rows, part, parts);
    try {
      for (int64_t begin = range.begin; begin < range.end; begin += most) {
        const int64_t count = std::min(most, range.end - begin);
        y.rows(begin, count).copy_from(PathBlock(*this, paths, begin, count).walk());
      }
    } catch (...) {
      const std::lock_guard lock(failing);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

Tensor ForecastNetwork::sample(const Windows& w, int64_t paths, uint64_t seed) const {
  const char* op = "sample";
  check_windows(op, w, false, false);
  check(op, paths >= 1, "Expected num_samples of at least 1, got ", paths, ".");
  const int64_t N = w.past.lengths.size(), T = w.steps, D = config_.channels, H = config_.history();
  check(op, paths <= INT32_MAX / (N * (H + T) * D), "Expected fewer than 2^31 values of all paths, got ",
        paths, " paths.");
  const int64_t R = N * paths;
  const DeviceScope scope(device_);
  const Device device = current_device();
  const auto packed = this->packed();
  Paths all(*packed, w, seed);

  const Tensor window = Tensor::host({R}, DType::i32), path = Tensor::host({R}, DType::i32);
  const Tensor example = Tensor::host({R}, DType::i64), itself = Tensor::host({R}, DType::i32);
  for (int64_t r = 0; r < R; ++r) {
    window.i32()[r] = static_cast<int32_t>(r / paths);
    path.i32()[r] = static_cast<int32_t>(r % paths);
    itself.i32()[r] = static_cast<int32_t>(r);
    example.i64()[r] = w.example_ids.defined() ? w.example_ids.i64()[r / paths] : r / paths;
  }
  all.window = window.to(device);
  all.path = path.to(device);
  all.example = example.to(device);
  all.itself = itself.to(device);

  const Tensor from_flat = time_major(T, N, [&](int64_t t, int64_t n) { return n * T + t; });
  all.offset = offsets(*packed, w, from_flat);
  if (w.scale.defined()) all.scale = w.scale.to(device);
  if (config_.lags.empty()) {
    all.raw = forward(*packed, w, {}, false).raw;
  } else {
    all.memory = encoder_.forward(packed->encoder, w.past, {}, nullptr, nullptr);
    all.encoded = bridge_.forward(packed->bridge, all.memory);
    all.prepared = decoder_.prepare(packed->context, packed->decoder, all.memory);
    all.known = as_rows(w.known);
    if (w.covariates.defined()) all.covariates = gathered(as_rows(w.covariates), from_flat);
    if (packed->decoder.known.defined())
      all.covariate_gates = decoder_.known_product(packed->decoder, all.covariates);
  }
  const Tensor y = Tensor::host({R, T, D}, DType::f32);
  walk_paths(all, R, y);
  return y.reshape({N, paths, T, D});
}

}  // namespace s2s::model

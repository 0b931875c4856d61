#include "model/device_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/candidates.h"
#include "ops/beam_step.h"
#include "ops/rows.h"
#include "search/beam_search.h"

namespace s2s::model {
namespace {

constexpr int64_t kMostKept = int64_t{1} << 28;  // elements of the continuations that are kept

int64_t rows_of(const SearchOptions& options, int64_t sources) {
  return sources * options.beam_size;
}

// Continuations asked of each row: what a search on the host asks, and as many more as it leaves out.
int64_t continuations(const SearchOptions& o, int64_t columns) {
  const int64_t ends = static_cast<int64_t>(o.end_tokens.size());
  const bool greedy = o.beam_size == 1 && enough_finished(o) == 1;
  return std::min(columns, (greedy ? 1 : o.beam_size + ends) + (o.min_decoding_length > 0 ? ends : 0));
}

template <class T>
Tensor upload(const std::vector<T>& values, DType dtype) {
  const Tensor host = Tensor::host({static_cast<int64_t>(values.size())}, dtype);
  std::copy(values.begin(), values.end(), static_cast<T*>(host.data()));
  return host.to(current_device());
}

// Doubles have no DType: they are pairs of int32 to the rest of the program.
Tensor doubles(int64_t count) {
  return Tensor::zeros({2 * count}, DType::i32);
}
double* f64(const Tensor& t) {
  return static_cast<double*>(t.data());
}

class Loop {
 public:
  Loop(const Network& network, const PackedNetwork& packed, const Source& source,
       const SearchOptions& options, const Shortlist* shortlist)
      : network_(network),
        packed_(packed),
        output_(shortlist ? shortlist->output : packed.output),
        beam_(options.beam_size),
        sources_(source.lengths.size()),
        rows_(rows_of(options, sources_)),
        memory_(network.encoder().forward(packed.encoder, source, {}, nullptr, nullptr)),
        prepared_(network.decoder().context().prepare(packed.context, memory_)),
        ragged_(Ragged::single_step(rows_)) {
    make_rows();
    make_search(options, shortlist);
  }

  // Runs until no source lives; how many steps it took.
  int64_t run() {
    repeat_on(
        current_device(), [](void* self) { static_cast<Loop*>(self)->step(); }, this, args_.again,
        args_.max_length);
    const Tensor steps = step_.to(Device::cpu());
    return steps.i32()[0];
  }

  // [steps, rows, k]
  Tensor log_probs(int64_t steps) const { return kept_log_probs_.rows(0, steps).to(Device::cpu()); }
  Tensor columns(int64_t steps) const { return kept_columns_.rows(0, steps).to(Device::cpu()); }
  int64_t sources() const { return sources_; }

 private:
  void make_rows() {
    const Decoder& decoder = network_.decoder();
    const Config& config = network_.config();
    step_rows_ = decoder.make_rows(rows_, memory_.longest, false, false);
    std::vector<int32_t> source_of(static_cast<size_t>(rows_));
    for (size_t r = 0; r < source_of.size(); ++r)
      source_of[r] = static_cast<int32_t>(r) / static_cast<int32_t>(beam_);
    step_rows_.example = upload(source_of, DType::i32);
    step_rows_.ids = upload(std::vector<int32_t>(static_cast<size_t>(rows_), config.bos_id), DType::i32);
    initial_ = decoder.make_states(rows_);
    written_ = decoder.make_states(rows_);
    const std::vector<State> first = network_.bridge().forward(packed_.bridge, memory_);
    move(first, step_rows_.example);
    if (config.input_feeding) feed_ = Tensor::zeros({rows_, config.feed_width()});
  }

  void make_search(const SearchOptions& o, const Shortlist* shortlist) {
    const int64_t V = output_.weight.shape.n;
    args_.sources = sources_, args_.beam = beam_, args_.k = continuations(o, V);
    args_.num_hypotheses = o.num_hypotheses, args_.enough = enough_finished(o);
    args_.min_length = o.min_decoding_length, args_.max_length = o.max_decoding_length;
    best_log_probs_ = Tensor::empty({rows_, args_.k});
    best_columns_ = Tensor::empty({rows_, args_.k}, DType::i32);
    args_.log_probs = best_log_probs_.f32(), args_.columns = best_columns_.i32();
    if (shortlist) vocabulary_ = upload(shortlist->ids, DType::i32), args_.vocabulary = vocabulary_.i32();
    end_tokens_ = upload(o.end_tokens, DType::i32);
    args_.end_tokens = end_tokens_.i32(), args_.ends = end_tokens_.size();

    const Tensor scales = Tensor::host({2 * (o.max_decoding_length + 2)}, DType::i32);
    for (int64_t l = 0; l < o.max_decoding_length + 2; ++l)
      f64(scales)[l] = std::pow(static_cast<double>(l > 0 ? l : 1), o.length_penalty);
    scales_ = scales.to(current_device());
    args_.scales = f64(scales_);

    step_ = Tensor::zeros({1}, DType::i32);
    again_ = upload(std::vector<int32_t>{1}, DType::i32);
    live_ = upload(std::vector<int32_t>(static_cast<size_t>(sources_), 1), DType::i32);
    finished_ = Tensor::zeros({sources_}, DType::i32);
    parents_ = Tensor::zeros({rows_}, DType::i32);
    ranks_ = Tensor::zeros({rows_}, DType::i32);
    sums_ = doubles(rows_), scratch_ = doubles(rows_), best_ = doubles(sources_ * o.num_hypotheses);
    kept_log_probs_ = Tensor::empty({o.max_decoding_length, rows_, args_.k});
    kept_columns_ = Tensor::empty({o.max_decoding_length, rows_, args_.k}, DType::i32);
    args_.step = step_.i32(), args_.again = again_.i32(), args_.live = live_.i32();
    args_.finished = finished_.i32(), args_.parents = parents_.i32(), args_.tokens = step_rows_.ids.i32();
    args_.ranks = ranks_.i32();
    args_.sums = f64(sums_), args_.scratch = f64(scratch_), args_.best = f64(best_);
    args_.kept_log_probs = kept_log_probs_.f32(), args_.kept_columns = kept_columns_.i32();
  }

  // initial_[r] = from[index[r]]
  void move(const std::vector<State>& from, const Tensor& index) {
    for (size_t l = 0; l < from.size(); ++l) {
      ops::gather_rows(from[l].h, index, initial_[l].h);
      if (from[l].c.defined()) ops::gather_rows(from[l].c, index, initial_[l].c);
    }
  }

  // In the first step a_0 is zero, which is what input feeding without a previous step comes to.
  void step() {
    network_.decoder().forward_block(packed_.decoder, prepared_, ragged_, step_rows_, feed_, initial_,
                                     written_, {});
    Output::best(output_, step_rows_.attentional, best_log_probs_, best_columns_);
    ops::beam_step(args_, current_device());
    move(written_, parents_);
    if (feed_.defined()) ops::gather_rows(step_rows_.attentional, parents_, feed_);
  }

  const Network& network_;
  const PackedNetwork& packed_;
  const Output::Packed& output_;
  const int64_t beam_, sources_, rows_;
  const Memory memory_;
  const Context::Prepared prepared_;
  const Ragged ragged_;
  Decoder::Rows step_rows_;
  std::vector<State> initial_, written_;
  Tensor feed_;
  Tensor best_log_probs_, best_columns_, vocabulary_, end_tokens_, scales_, step_, again_, live_, finished_,
      parents_, ranks_, sums_, scratch_, best_, kept_log_probs_, kept_columns_;
  BeamStepArgs args_{};
};

// What the device computed, as if it were computed now. Of each source the live rows come first.
class Replay final : public Stepper {
 public:
  Replay(int64_t vocabulary, int64_t beam, const Tensor& log_probs, const Tensor& columns,
         std::span<const int32_t> shortlist)
      : vocabulary_(vocabulary),
        beam_(beam),
        log_probs_(log_probs),
        columns_(columns),
        shortlist_(shortlist) {}

  int64_t vocabulary() const override { return vocabulary_; }

  void advance(const int32_t* parents, const int32_t*, int64_t rows) override {
    std::vector<int32_t> sources(static_cast<size_t>(rows));
    for (size_t r = 0; r < sources.size(); ++r)
      sources[r] = step_ < 0 ? parents[r] : sources_[static_cast<size_t>(parents[r])];
    sources_ = std::move(sources);
    ++step_;
  }

  void candidates(int64_t rows, int64_t k, const Processors& processors, float* log_probs,
                  int32_t* tokens) override {
    const int64_t best = log_probs_.dim(2);
    if (step_ >= log_probs_.dim(0)) throw std::logic_error("[search] The device stopped before the host.");
    int64_t place = 0;
    for (int64_t r = 0; r < rows; ++r) {
      place =
          r > 0 && sources_[static_cast<size_t>(r)] == sources_[static_cast<size_t>(r - 1)] ? place + 1 : 0;
      const int64_t row = sources_[static_cast<size_t>(r)] * beam_ + place;
      const int64_t at = (step_ * log_probs_.dim(1) + row) * best;
      take_allowed({1, best, log_probs_.f32() + at, columns_.i32() + at}, shortlist_, processors.forbidden(),
                   k, log_probs + r * k, tokens + r * k);
    }
  }

 protected:
  const float* log_probs() override { throw std::logic_error("[search] A replay has no dense scores."); }

 private:
  const int64_t vocabulary_, beam_;
  const Tensor log_probs_, columns_;  // [steps, rows, best]
  const std::span<const int32_t> shortlist_;
  std::vector<int32_t> sources_;  // of each live row
  int64_t step_ = -1;
};

}  // namespace

bool runs_on_device(const SearchOptions& options, int64_t sources, int64_t columns) {
  return !options.return_attention && options.end_tokens.size() <= 64 && options.beam_size <= columns &&
         options.max_decoding_length * rows_of(options, sources) <=
             kMostKept / continuations(options, columns);
}

SearchResults search_on_device(const Network& network, const std::shared_ptr<const PackedNetwork>& packed,
                               const Source& source, const SearchOptions& options,
                               DecodeWorkspace& workspace) {
  const Shortlist* shortlist =
      options.vocabulary ? &workspace.shortlist.of_vocabulary(packed, *options.vocabulary) : nullptr;
  Loop loop(network, *packed, source, options, shortlist);
  const int64_t steps = loop.run();
  Replay replay(network.config().target_vocab_size, options.beam_size, loop.log_probs(steps),
                loop.columns(steps),
                shortlist ? std::span<const int32_t>(shortlist->ids) : std::span<const int32_t>());
  return s2s::generate(replay, loop.sources(), options, workspace.search);
}

}  // namespace s2s::model

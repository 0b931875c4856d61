#include "model/device_search.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "core/threads.h"
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

// Small arrays that are made on the host and brought to the device in one copy.
class Arrays {
 public:
  // Where the array will be; its address is at<T>() once all have been brought there.
  template <class T>
  size_t add(const std::vector<T>& values) {
    const size_t place = (host_.size() + kAlign - 1) / kAlign * kAlign, bytes = values.size() * sizeof(T);
    host_.resize(place + bytes);
    if (bytes > 0) std::memcpy(host_.data() + place, values.data(), bytes);
    return place;
  }
  template <class T>
  size_t add(int64_t count, T value) {
    return add(std::vector<T>(static_cast<size_t>(count), value));
  }
  void bring() {
    const Tensor host = Tensor::host({static_cast<int64_t>(host_.size())}, DType::u8);
    std::memcpy(host.data(), host_.data(), host_.size());
    there_ = host.to(current_device());
  }
  template <class T>
  T* at(size_t place) const {
    return reinterpret_cast<T*>(there_.u8() + place);
  }
  // A view, for as long as this lives.
  Tensor view(size_t place, int64_t count) const {
    return Tensor::wrap(at<int32_t>(place), {count}, DType::i32, nullptr, there_.device());
  }

 private:
  static constexpr size_t kAlign = 16;
  std::vector<uint8_t> host_;
  Tensor there_;
};

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
        prepared_(network.decoder().prepare(packed.context, packed.decoder, memory_)),
        ragged_(Ragged::single_step(rows_)) {
    make_search(options, shortlist);
    make_rows();
  }

  // Runs until no source lives; how many steps it took.
  int64_t run() {
    return repeat_on(
        current_device(), [](void* self, int32_t* done) { static_cast<Loop*>(self)->step(done); }, this,
        args_.max_length);
  }

  // [steps, 2, rows, k] of the host's
  Tensor kept(int64_t steps) const { return kept_.rows(0, steps).to(Device::cpu()); }
  int64_t sources() const { return sources_; }

 private:
  void make_rows() {
    const Decoder& decoder = network_.decoder();
    const Config& config = network_.config();
    step_rows_ = decoder.make_rows(rows_, memory_.longest, {}, false);
    step_rows_.example = arrays_.view(example_, rows_);
    step_rows_.ids = arrays_.view(tokens_, rows_);
    written_ = decoder.make_states(rows_);
    std::vector<State> first = network_.bridge().forward(packed_.bridge, memory_);
    if (beam_ == 1) {
      initial_ = std::move(first);
    } else {
      initial_ = decoder.make_states(rows_);
      move(first, step_rows_.example);
    }
    if (config.input_feeding) feed_ = Tensor::zeros({rows_, config.feed_width()});
    if (beam_ > 1) make_moves();
  }

  // What belongs to a row: its states, and its output where that is fed.
  void make_moves() {
    std::vector<RowMove> all;
    const auto add = [&](const Tensor& from, const Tensor& to) {
      all.push_back({from.f32(), to.f32(), from.dim(1)});
    };
    for (size_t l = 0; l < written_.size(); ++l) {
      add(written_[l].h, initial_[l].h);
      if (written_[l].c.defined()) add(written_[l].c, initial_[l].c);
    }
    if (feed_.defined()) add(step_rows_.attentional, feed_);
    const size_t place = moves_.add(all);
    moves_.bring();
    args_.moves = moves_.at<RowMove>(place), args_.move_count = static_cast<int64_t>(all.size());
  }

  void make_search(const SearchOptions& o, const Shortlist* shortlist) {
    const int64_t V = output_.weight.shape.n;
    args_.sources = sources_, args_.beam = beam_, args_.k = continuations(o, V);
    args_.num_hypotheses = o.num_hypotheses, args_.enough = enough_finished(o);
    args_.min_length = o.min_decoding_length, args_.max_length = o.max_decoding_length;
    best_log_probs_ = Tensor::empty({rows_, args_.k});
    best_columns_ = Tensor::empty({rows_, args_.k}, DType::i32);
    args_.log_probs = best_log_probs_.f32(), args_.columns = best_columns_.i32();
    kept_ = Tensor::empty({o.max_decoding_length, 2, rows_, args_.k});
    args_.kept = kept_.f32();

    std::vector<double> scales(static_cast<size_t>(o.max_decoding_length + 2), 1.0);
    for (size_t l = 1; l < scales.size(); ++l) scales[l] = std::pow(static_cast<double>(l), o.length_penalty);
    std::vector<int32_t> source_of(static_cast<size_t>(rows_));
    for (size_t r = 0; r < source_of.size(); ++r)
      source_of[r] = static_cast<int32_t>(r) / static_cast<int32_t>(beam_);

    Arrays& a = arrays_;
    const size_t scale = a.add(scales), sums = a.add(rows_, 0.0), scratch = a.add(rows_, 0.0),
                 best = a.add(sources_ * o.num_hypotheses, 0.0);
    const size_t vocabulary = a.add(shortlist ? shortlist->ids : std::vector<int32_t>()),
                 ends = a.add(o.end_tokens), step = a.add(1, int32_t{0}), arrived = a.add(1, int32_t{0}),
                 live = a.add(sources_, int32_t{1}), finished = a.add(sources_, int32_t{0}),
                 ranks = a.add(rows_, int32_t{0});
    const size_t parents = a.add(rows_, int32_t{0});
    tokens_ = a.add(rows_, network_.config().bos_id);
    example_ = a.add(source_of);
    a.bring();

    args_.scales = a.at<double>(scale), args_.sums = a.at<double>(sums);
    args_.scratch = a.at<double>(scratch), args_.best = a.at<double>(best);
    if (shortlist) args_.vocabulary = a.at<int32_t>(vocabulary);
    args_.end_tokens = a.at<int32_t>(ends), args_.ends = static_cast<int64_t>(o.end_tokens.size());
    args_.step = a.at<int32_t>(step), args_.arrived = a.at<int32_t>(arrived);
    args_.live = a.at<int32_t>(live), args_.finished = a.at<int32_t>(finished);
    args_.ranks = a.at<int32_t>(ranks), args_.parents = a.at<int32_t>(parents);
    args_.tokens = a.at<int32_t>(tokens_);
  }

  // initial_[r] = from[index[r]]
  void move(const std::vector<State>& from, const Tensor& index) {
    for (size_t l = 0; l < from.size(); ++l) {
      ops::gather_rows(from[l].h, index, initial_[l].h);
      if (from[l].c.defined()) ops::gather_rows(from[l].c, index, initial_[l].c);
    }
  }

  // In the first step a_0 is zero, which is what input feeding without a previous step comes to. A single row
  // continues itself: what it wrote is where the next step reads.
  void step(int32_t* done) {
    args_.done = done;
    network_.decoder().forward_block(packed_.decoder, prepared_, ragged_, step_rows_, feed_, initial_,
                                     written_, {});
    Output::best(output_, step_rows_.attentional, best_log_probs_, best_columns_);
    ops::beam_step(args_, current_device());
    if (beam_ > 1) return;
    std::swap(initial_, written_);
    if (feed_.defined()) feed_ = step_rows_.attentional;
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
  Arrays arrays_, moves_;
  size_t tokens_ = 0, example_ = 0;  // places in arrays_
  Tensor feed_, best_log_probs_, best_columns_, kept_;
  BeamStepArgs args_{};
};

// What the device computed of the sources from `first` on, as if it were computed now. Of each source the
// live rows come first.
class Replay final : public Stepper {
 public:
  Replay(int64_t vocabulary, int64_t beam, const Tensor& kept, std::span<const int32_t> shortlist,
         int64_t first)
      : vocabulary_(vocabulary), beam_(beam), first_(first), kept_(kept), shortlist_(shortlist) {}

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
    const int64_t best = kept_.dim(3), given = kept_.dim(2) * best;
    if (step_ >= kept_.dim(0)) throw std::logic_error("[search] The device stopped before the host.");
    int64_t place = 0;
    for (int64_t r = 0; r < rows; ++r) {
      place =
          r > 0 && sources_[static_cast<size_t>(r)] == sources_[static_cast<size_t>(r - 1)] ? place + 1 : 0;
      const int64_t row = (first_ + sources_[static_cast<size_t>(r)]) * beam_ + place;
      const int64_t at = 2 * step_ * given + row * best;
      take_allowed({1, best, kept_.f32() + at, kept_.i32() + at + given}, shortlist_, processors.forbidden(),
                   k, log_probs + r * k, tokens + r * k);
    }
  }

 protected:
  const float* log_probs() override { throw std::logic_error("[search] A replay has no dense scores."); }

 private:
  const int64_t vocabulary_, beam_, first_;
  const Tensor kept_;  // [steps, 2, rows, best]: log-probabilities, then columns
  const std::span<const int32_t> shortlist_;
  std::vector<int32_t> sources_;  // of each live row
  int64_t step_ = -1;
};

constexpr int64_t kRowsOfPart = 2048;  // rows, of all steps, that a second thread pays for
constexpr int kMostParts = 64;

// The search over what the device computed, some sources to each thread.
SearchResults replay(int64_t vocabulary, int64_t sources, const Tensor& kept,
                     std::span<const int32_t> shortlist, const SearchOptions& options,
                     SearchWorkspace& workspace) {
  const auto search = [&](Range of, SearchWorkspace& buffers) {
    Replay stepper(vocabulary, options.beam_size, kept, shortlist, of.begin);
    return s2s::generate(stepper, of.end - of.begin, options, buffers);
  };
  const int64_t rows = kept.dim(0) * kept.dim(2), parts = std::min(sources, rows / kRowsOfPart);
  if (parts < 2) return search({0, sources}, workspace);
  SearchResults all(static_cast<size_t>(sources));
  std::atomic<bool> failed = false;
  parallel(static_cast<int>(std::min<int64_t>(parts, kMostParts)), [&](int part, int of) {
    const Range mine = share_of(sources, part, of);
    try {
      SearchWorkspace own;
      SearchResults found = search(mine, part == 0 ? workspace : own);
      std::ranges::move(found, all.begin() + mine.begin);
    } catch (...) {
      failed = true;
    }
  });
  return failed ? search({0, sources}, workspace) : all;  // the error of the first source that has one
}

}  // namespace

bool runs_on_device(const SearchOptions& options, int64_t sources, int64_t columns) {
  return is_plain(options) && options.end_tokens.size() <= 64 && options.beam_size <= columns &&
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
  return replay(network.config().target_vocab_size, loop.sources(), loop.kept(steps),
                shortlist ? std::span<const int32_t>(shortlist->ids) : std::span<const int32_t>(), options,
                workspace.search);
}

}  // namespace s2s::model

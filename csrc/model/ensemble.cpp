#include "model/ensemble.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/threads.h"
#include "math/exp.h"

namespace s2s::model {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

// The mean of the members' log-probabilities of one thing.
template <class Member>
float mean_of(EnsembleMean mean, size_t members, const Member& log_prob) {
  const float count = static_cast<float>(members);
  float sum = 0.0f;
  if (mean == EnsembleMean::log_probability) {
    for (size_t m = 0; m < members; ++m) sum += log_prob(m);
    return sum / count;
  }
  float top = log_prob(0);
  for (size_t m = 1; m < members; ++m) top = std::max(top, log_prob(m));
  if (top == kImpossible) return top;
  for (size_t m = 0; m < members; ++m) sum += math::exp(log_prob(m) - top);
  return top + math::log(sum / count);
}

class EnsembleStepper final : public Stepper {
 public:
  EnsembleStepper(const Networks& networks, EnsembleMean mean, const Source& source,
                  const SearchOptions& options, std::vector<DecodeWorkspace>& workspaces)
      : mean_(mean), attends_(keeps_attention(options)) {
    std::span<const int32_t> vocabulary;
    if (options.vocabulary) vocabulary = *options.vocabulary;
    for (size_t m = 0; m < networks.size(); ++m) {
      const Network& network = *networks[m];
      members_.push_back(std::make_unique<ModelStepper>(network, network.packed(), source,
                                                        source.lengths.size() * most_rows(options), attends_,
                                                        vocabulary, workspaces[m]));
      attends_ = attends_ && network.config().attends();
    }
  }

  int64_t vocabulary() const override { return members_[0]->vocabulary(); }
  int64_t source_length(int64_t source) const override { return members_[0]->source_length(source); }

  void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) override {
    for (const auto& member : members_) member->advance(parents, tokens, rows);
    rows_ = rows;
  }

  // The mean of the members' weights.
  const float* attention(int64_t* stride) override {
    if (!attends_) return nullptr;
    for (size_t m = 0; m < members_.size(); ++m) {
      const float* weights = members_[m]->attention(stride);
      const size_t count = static_cast<size_t>(rows_ * *stride);
      if (m == 0) weights_.assign(count, 0.0f);
      for (size_t i = 0; i < count; ++i) weights_[i] += weights[i] / static_cast<float>(members_.size());
    }
    return weights_.data();
  }

 protected:
  const float* log_probs() override {
    each_.clear();
    for (const auto& member : members_) each_.push_back(member->log_probs());
    const int64_t count = rows_ * vocabulary();
    log_probs_.resize(static_cast<size_t>(count));
    parallel(count < (1 << 14) ? 1 : 64, [&](int part, int parts) {
      const Range range = share_of(count, part, parts);
      for (int64_t i = range.begin; i < range.end; ++i) {
        log_probs_[static_cast<size_t>(i)] =
            mean_of(mean_, each_.size(), [&](size_t m) { return each_[m][i]; });
      }
    });
    return log_probs_.data();
  }

 private:
  const EnsembleMean mean_;
  bool attends_;
  std::vector<std::unique_ptr<ModelStepper>> members_;
  std::vector<const float*> each_;  // member's log-probabilities
  std::vector<float> log_probs_, weights_;
  int64_t rows_ = 0;
};

}  // namespace

void check_ensemble(const Networks& networks) {
  const char* op = "ensemble";
  check(op, !networks.empty(), "Expected at least one model, got none.");
  const Config& first = networks[0]->config();
  for (const auto& network : networks) {
    const Config& c = network->config();
    const auto equal = [&](const char* name, int64_t expected, int64_t got) {
      check(op, got == expected, "Expected models of one ", name, ", got ", expected, " and ", got, ".");
    };
    equal("target_vocab_size", first.target_vocab_size, c.target_vocab_size);
    equal("source_vocab_size", first.source_vocab_size, c.source_vocab_size);
    equal("source_features", first.source_features, c.source_features);
    equal("copy_attention", first.copy_attention, c.copy_attention);
    equal("bos_id", first.bos_id, c.bos_id);
    equal("eos_id", first.eos_id, c.eos_id);
    check(op, network->device() == networks[0]->device(), "Expected models on one device.");
  }
}

SearchResults generate(const Networks& networks, EnsembleMean mean, const Source& source,
                       SearchOptions options, std::vector<DecodeWorkspace>& workspaces) {
  const Network& first = *networks[0];
  if (networks.size() == 1) return first.generate(source, std::move(options), workspaces[0]);
  const DeviceScope scope(first.device());
  first.prepare(source.lengths, options);
  check("search", options.ctc_weight == 0, "Expected ctc_weight 0 with an ensemble, got ", options.ctc_weight,
        ".");
  EnsembleStepper stepper(networks, mean, source, options, workspaces);
  return s2s::generate(stepper, source.lengths.size(), options, workspaces[0].search);
}

Tensor score(const Networks& networks, EnsembleMean mean, const Source& source, const Target& target) {
  std::vector<Tensor> nll;
  for (const auto& network : networks) nll.push_back(network->score(source, target));
  const Tensor out = nll[0];
  if (networks.size() == 1) return out;
  for (int64_t i = 0; i < out.size(); ++i) {
    out.f32()[i] = -mean_of(mean, nll.size(), [&](size_t m) { return -nll[m].f32()[i]; });
  }
  return out;
}

}  // namespace s2s::model

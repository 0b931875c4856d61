#include "model/joint_stepper.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/threads.h"
#include "math/ctc.h"
#include "ops/softmax.h"

namespace s2s::model {

using math::kLogZero;
using math::log_add_exact;

JointStepper::JointStepper(const Network& network, const PackedNetwork& packed, ModelStepper& decoder,
                           const SearchOptions& options)
    : decoder_(decoder),
      classes_(network.ctc().classes()),
      blank_(static_cast<int32_t>(network.config().target_vocab_size)),
      weight_(options.ctc_weight),
      end_tokens_(options.end_tokens) {
  const Tensor z = network.ctc().logits(packed.ctc, decoder.memory());
  ops::softmax(z, z, true);
  log_p_ = z.to(Device::cpu());
  p_ = Tensor::host(log_p_.shape(), DType::f32);
  for (int64_t i = 0; i < p_.size(); ++i) p_.f32()[i] = std::exp(log_p_.f32()[i]);
}

JointStepper::Places JointStepper::places(int32_t source) const {
  const int32_t* offsets = decoder_.memory().offsets.i32();
  return {offsets[source], offsets[source + 1] - offsets[source]};
}

const float* JointStepper::log_p(const Prefix& prefix, int64_t t) const {
  return log_p_.f32() + (places(prefix.source).begin + t) * classes_;
}

void JointStepper::start(int32_t source, Prefix& prefix) const {
  prefix.source = source;
  prefix.last = -1;
  prefix.all = 0.0;
  const size_t count = static_cast<size_t>(places(source).count);
  prefix.label.assign(count, kLogZero);
  prefix.blank.resize(count);
  double sum = 0.0;
  for (size_t t = 0; t < count; ++t) {
    sum += double{log_p(prefix, static_cast<int64_t>(t))[blank_]};
    prefix.blank[t] = sum;
  }
}

double JointStepper::before(const Prefix& prefix, int32_t token, int64_t t) const {
  if (t == 0) return prefix.last < 0 ? 0.0 : kLogZero;
  const size_t at = static_cast<size_t>(t - 1);
  return token == prefix.last ? prefix.blank[at] : log_add_exact(prefix.blank[at], prefix.label[at]);
}

void JointStepper::extend(const Prefix& from, int32_t token, Prefix& to) const {
  const size_t count = from.label.size();
  to.source = from.source;
  to.last = token;
  to.all = with_token(from, token);
  to.label.resize(count);
  to.blank.resize(count);
  double label = kLogZero, blank = kLogZero;
  for (size_t t = 0; t < count; ++t) {
    const float* log_p_t = log_p(from, static_cast<int64_t>(t));
    const double any = log_add_exact(blank, label);
    label = log_add_exact(label, before(from, token, static_cast<int64_t>(t))) + double{log_p_t[token]};
    blank = any + double{log_p_t[blank_]};
    to.label[t] = label;
    to.blank[t] = blank;
  }
}

// In logarithms throughout.
double JointStepper::with_token(const Prefix& prefix, int32_t token) const {
  double sum = kLogZero;
  for (int64_t t = 0; t < static_cast<int64_t>(prefix.label.size()); ++t)
    sum = log_add_exact(sum, before(prefix, token, t) + double{log_p(prefix, t)[token]});
  return sum;
}

double JointStepper::ended(const Prefix& prefix) const {
  return log_add_exact(prefix.label.back(), prefix.blank.back());
}

// Of all tokens at once: sum over t of exp(before) p_t(token), relative to the largest of them.
void JointStepper::score(const Prefix& prefix, const float* decoder, float* scores) const {
  const int64_t V = vocabulary(), T = static_cast<int64_t>(prefix.label.size());
  double top = kLogZero;
  std::vector<double> ways(static_cast<size_t>(T)), sums(static_cast<size_t>(V), 0.0);
  for (int64_t t = 0; t < T; ++t) {
    ways[static_cast<size_t>(t)] = before(prefix, -2, t);
    top = std::max(top, ways[static_cast<size_t>(t)]);
  }
  const float* p = p_.f32() + places(prefix.source).begin * classes_;
  for (int64_t t = 0; t < T && top > kLogZero; ++t) {
    const double way = std::exp(ways[static_cast<size_t>(t)] - top);
    for (int64_t c = 0; c < V; ++c) sums[static_cast<size_t>(c)] += way * double{p[t * classes_ + c]};
  }
  for (int64_t c = 0; c < V; ++c) {
    if (decoder[c] == -std::numeric_limits<float>::infinity()) {  // not in SearchOptions::vocabulary
      scores[c] = decoder[c];
      continue;
    }
    const double sum = sums[static_cast<size_t>(c)];
    double all = top + std::log(sum);
    // What is added above is more than what may come before a repetition, and may be too small for a number.
    if (c == prefix.last || sum < 1e-30) all = with_token(prefix, static_cast<int32_t>(c));
    if (std::ranges::find(end_tokens_, static_cast<int32_t>(c)) != end_tokens_.end()) all = ended(prefix);
    const double gain = all == kLogZero ? all : std::min(0.0, all - prefix.all);  // above 0: rounding
    const double rest = weight_ < 1.0 ? (1.0 - weight_) * double{decoder[c]} : 0.0;
    scores[c] = static_cast<float>(rest + weight_ * gain);
  }
}

void JointStepper::advance(const int32_t* parents, const int32_t* tokens, int64_t rows) {
  decoder_.advance(parents, tokens, rows);
  const size_t count = static_cast<size_t>(rows);
  if (next_.size() < count) next_.resize(count);
  const bool first = count_ == 0;
  parallel(rows > 1 ? 64 : 1, [&](int part, int parts) {
    const Range range = share_of(rows, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r) {
      Prefix& row = next_[static_cast<size_t>(r)];
      if (first) {
        start(parents[r], row);
      } else {
        extend(rows_[static_cast<size_t>(parents[r])], tokens[r], row);
      }
    }
  });
  std::swap(rows_, next_);
  count_ = rows;
  scored_ = false;
}

const float* JointStepper::log_probs() {
  if (scored_) return scores_.data();
  const int64_t V = vocabulary();
  const float* decoder = decoder_.log_probs();
  scores_.resize(static_cast<size_t>(count_ * V));
  parallel(count_ > 1 ? 64 : 1, [&](int part, int parts) {
    const Range range = share_of(count_, part, parts);
    for (int64_t r = range.begin; r < range.end; ++r)
      score(rows_[static_cast<size_t>(r)], decoder + r * V, scores_.data() + r * V);
  });
  scored_ = true;
  return scores_.data();
}

}  // namespace s2s::model

// JointStepper: decoder and the encoder's own output decide together (Watanabe et al. 2017). The score of a
// token c after a prefix g is
//   (1 - w) log P_decoder(c | g) + w (log P_ctc(g c ...) - log P_ctc(g ...)),   w = ctc_weight,
// P_ctc(g ...) being the probability of all that begins with g, and for an end token that of g alone: so a
// hypothesis' log-probability is (1 - w) that of the decoder + w that of the CTC output. Every token is
// scored exactly, in double; nothing is left out beforehand.
#pragma once

#include <vector>

#include "model/stepper.h"

namespace s2s::model {

class JointStepper final : public Stepper {
 public:
  // `decoder` is the caller's, at its beginning.
  JointStepper(const Network& network, const PackedNetwork& packed, ModelStepper& decoder,
               const SearchOptions& options);

  int64_t vocabulary() const override { return decoder_.vocabulary(); }
  int64_t source_length(int64_t source) const override { return decoder_.source_length(source); }
  void advance(const int32_t* parents, const int32_t* tokens, int64_t rows) override;
  const float* attention(int64_t* stride) override { return decoder_.attention(stride); }
  const float* log_probs() override;

 private:
  // A prefix: log P of all ways in which the first t + 1 places make it, with a label in the last of them and
  // with a blank.
  struct Prefix {
    int32_t source = 0, last = -1;  // last token; -1: none yet
    double all = 0.0;               // log P_ctc(g ...)
    std::vector<double> label, blank;
  };
  struct Places {  // of a source
    int64_t begin, count;
  };
  Places places(int32_t source) const;
  const float* log_p(const Prefix& prefix, int64_t t) const;
  void start(int32_t source, Prefix& prefix) const;
  void extend(const Prefix& from, int32_t token, Prefix& to) const;
  // log P of all ways in which the places before t make the prefix, such that `token` may come in t.
  double before(const Prefix& prefix, int32_t token, int64_t t) const;
  double with_token(const Prefix& prefix, int32_t token) const;
  double ended(const Prefix& prefix) const;
  void score(const Prefix& prefix, const float* decoder, float* scores) const;

  ModelStepper& decoder_;
  const int64_t classes_;
  const int32_t blank_;
  const double weight_;
  const std::vector<int32_t> end_tokens_;
  Tensor log_p_, p_;  // [sum S, classes] of the CTC output, on the host, and its exponential
  std::vector<Prefix> rows_, next_;
  int64_t count_ = 0;          // of rows_
  std::vector<float> scores_;  // [count_, V], once `scored_`
  bool scored_ = false;
};

}  // namespace s2s::model

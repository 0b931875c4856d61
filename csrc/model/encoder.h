// Encoder: tokens or feature vectors -> the memory that the decoder reads, and the last states of every
// layer. Without layers the memory is tanh(W x + b), and its mean stands for the last state (Xu et al. 2015).
#pragma once

#include "model/config.h"
#include "model/conv_front.h"
#include "model/linear.h"

namespace s2s::model {

// The source of a batch as the caller gives it: sequences one after the other.
struct Source {
  Tensor values;   // int32 [sum S] ids, or float32 [sum S, features]
  Tensor lengths;  // int32 [N]
  Tensor copies;   // int32 [sum S] copy ids (ops/copy.h), where the network copies
};

// A source as tokens that may come out.
struct Copies {
  Tensor ids, first;  // int32 [sum S], as ops/copy.h has them
  int64_t extra = 0;  // one more than the largest id outside the target vocabulary, counted from its end
};

// What a decoder needs of a source. Everything is in the caller's order of sequences.
struct Memory {
  Tensor states;   // [sum S, M] the top layer's outputs, sequence after sequence
  Tensor offsets;  // int32 [N + 1], the host's
  int64_t longest = 0;
  std::vector<State> last;  // per encoder layer (at least one), directions side by side: [N, M]; c for LSTMs
  Copies copies;            // where the network copies
  int64_t sequences() const { return offsets.size() - 1; }
};

class Encoder {
 public:
  Encoder() = default;
  static void declare(Parameters& all, const Config& config);
  Encoder(const Parameters& all, const Config& config);

  // One segment of layers at work.
  struct Level {
    Ragged ragged{nullptr, 0};
    RowNames names;
    RecurrentStack::Saved stack;
  };
  struct Saved {
    RowNames names;  // of the source
    Tensor ids;      // int32 [R] in ragged order, for token sources; or the distinct ones
    ConvFront::Saved conv;
    Ragged front{nullptr, 0};  // what the recurrent layers, or the projection, read
    std::vector<Level> levels;
    RowNames projected;
    Tensor x, y;  // [R, C] and [R, M] of the projection, y as it was before dropout
  };

  struct Packed {
    ConvFront::Packed conv;
    std::vector<RecurrentStack::Packed> stacks;
    ops::Packed projection;
  };
  Packed pack(ComputeType type = ComputeType::float32) const;
  // Throws std::invalid_argument for ids out of range, wrong shapes or lengths.
  Memory forward(const Packed& packed, const Source& source, const Dropout& dropout,
                 const int64_t* example_ids, Saved* saved) const;
  // The pieces, for EncoderStream.
  const Tensor& embedding() const { return embedding_.value; }
  const ConvFront& conv() const { return conv_; }
  const RecurrentStack& stack(size_t segment) const { return stacks_[segment]; }

  // `gradient` has the shapes of the Memory; adds to the gradients of the parameters. Uses up `saved`.
  void backward(Saved& saved, const Memory& gradient, const Dropout& dropout) const;

 private:
  // Whether what the first layer reads are embeddings as they are.
  bool recurs_over_tokens() const {
    return config_.tokens_in() && config_.recurs() && config_.conv_layers == 0 && windows_[0].trivial();
  }
  void check_source(const Source& source) const;
  Copies copies_of(const Source& source) const;
  void drop_words(const Ragged& ragged, const Dropout& dropout, const int64_t* example_ids,
                  const Tensor& ids) const;
  void add_last(const Level& level, const RecurrentStack& stack, const RecurrentStack::States& last,
                Memory& memory) const;
  RecurrentStack::States gradients_of_last(const Level& level, const RecurrentStack& stack,
                                           const Memory& gradient) const;
  // x [R, C] -> the memory's states in the order of Ragged.
  Tensor project(const ops::Packed& packed, const Tensor& x, const Dropout& dropout, const RowNames& names,
                 Saved* saved) const;
  void project_backward(const Saved& saved, const Tensor& dy, const Tensor& dx, const Dropout& dropout) const;

  Config config_;
  Parameter embedding_;
  ConvFront conv_;
  Linear projection_;
  std::vector<TimeWindow> windows_;     // of each segment
  std::vector<RecurrentStack> stacks_;  // likewise
};

}  // namespace s2s::model

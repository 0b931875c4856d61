// Decoder: embedding, stacked cells, context, attentional layer a_t = tanh(W [h_t; c_t] + b).
// Training without input feeding is one block of all steps; with it, and in inference, a block is one step.
// The equations of a block are written once.
#pragma once

#include "model/bridge.h"
#include "model/context.h"
#include "model/scheduled_sampling.h"

namespace s2s::model {

// The target of a batch as the caller gives it: sequences one after the other, each with its end token, none
// with a start token.
struct Target {
  Tensor ids;      // int32 [sum T]
  Tensor lengths;  // int32 [N]
};

class Decoder {
 public:
  Decoder() = default;
  static void declare(Parameters& all, const Config& config);
  Decoder(const Parameters& all, const Config& config);

  struct Packed {
    std::vector<Cell::Packed> cells;  // the first without the columns of input feeding
    ops::Packed feed, combine;
    ops::Packed combine_context;  // inference only: a context that is the same at every step has its product
                                  // once (Decoder::prepare); `combine` is h's columns, then
    ops::Packed known;  // inference only, of vectors: their last columns' weights, then `feed` is the others'
    Tensor input_table;  // [V, G * H]: the first layer's input product of every token, or of the batch's
  };
  Packed pack(ComputeType type = ComputeType::float32) const;
  // With the input table, where it is not too large: a step then reads one row of it instead of a matrix.
  Packed pack_for_inference(ComputeType type) const;

  // Of a decoder of vectors: those columns but the first `fed` are known ahead, so that their product, made
  // for many rows at once, can stand in an input_table. Without effect where that is not to be had.
  void split_input(Packed& packed, int64_t fed, ComputeType type) const;
  Tensor known_product(const Packed& packed, const Tensor& columns) const;  // [rows, G * H], with the bias

  // The rows of one or many steps: what a step computes, and what backward needs of it.
  struct Rows {
    Tensor ids;                      // int32 [R] the tokens put in, or the rows of their input_table
    Tensor example;                  // int32 [R] the source of each row
    RowNames names;                  // for dropout
    Tensor embedded;                 // [R, Et]
    std::vector<Cell::Saved> cells;  // per layer
    std::vector<Tensor> inputs;      // per layer but the first: [R, Hd], after dropout
    std::vector<Tensor> outputs;     // per layer but the top: the same before it, where residuals need it
    std::vector<Tensor> sums;        // per layer [R, Hd]: what was normalised, for backward
    Tensor hc;                       // [R, Hd + M] top h beside the context
    Tensor weights;                  // [R, longest] attention
    Context::Covered covered;        // where there is a coverage: given
    Tensor query;                    // [R, A] mlp
    Tensor combined, attentional;    // [R, F] a_t before and after dropout
    Rows slice(int64_t begin, int64_t count) const;
    void set_rows(int64_t count);  // of buffers with room for them, in place
  };
  // keep: what backward needs, too.
  Rows make_rows(int64_t rows, int64_t longest, const Dropout& dropout, bool keep) const;

  // The memory made ready for the steps of many blocks.
  Context::Prepared prepare(const Context::Packed& context, const Packed& packed, const Memory& memory) const;

  // One block: rows.ids and rows.example are given, the rest of `rows` and `last` is written. feed: a_{t-1}
  // of each row, or undefined at the first step; of a split input, its first columns. `initial` and `last`
  // must not share memory.
  void forward_block(const Packed& packed, const Context::Prepared& prepared, const Ragged& ragged,
                     const Rows& rows, const Tensor& feed, const std::vector<State>& initial,
                     const std::vector<State>& last, const Dropout& dropout) const;

  struct Saved {
    Ragged ragged{nullptr, 0};
    Rows rows;
    Tensor targets;         // int32 [R] the token to predict at each row, the host's
    Tensor order;           // int32 [N]
    DistinctTokens inputs;  // undefined, or rows.ids are places in it and rows.embedded is not used
  };
  // Teacher forcing over a whole batch; `initial` in the caller's order. Throws std::invalid_argument for a
  // bad target. keep: for backward. sampling: some inputs are drawn, and then stand in rows.ids.
  Saved forward(const Packed& packed, const Context::Prepared& prepared, const Memory& memory,
                const std::vector<State>& initial, const Target& target, const Dropout& dropout,
                const int64_t* example_ids, bool keep, const Sampling& sampling = {}) const;

  // The same over vectors, which are given as the decoder reads them: inputs [R, C] of `steps` steps of every
  // sequence, in the order of Ragged.
  Saved forward_features(const Packed& packed, const Context::Prepared& prepared, const Memory& memory,
                         const std::vector<State>& initial, const Tensor& inputs, int64_t steps,
                         const Dropout& dropout, const int64_t* example_ids, bool keep) const;

  // What the attention is used for elsewhere: [R, longest] each, or undefined.
  struct AttentionGradient {
    Tensor dweights, dcoverage;
  };
  // dattentional [R, F] and dattention (both used up) -> gradients of the initial states in the caller's
  // order, and of the memory (added to); adds to the gradients of the parameters.
  std::vector<State> backward(Saved& saved, const Context::Prepared& prepared, const Memory& memory,
                              const Tensor& dattentional, const AttentionGradient& dattention,
                              const Memory& dmemory, const Dropout& dropout) const;

  // The token whose embedding is put in after this one: a copied one that the vocabulary does not have is
  // unk.
  int32_t input_id(int32_t token) const { return token < config_.target_vocab_size ? token : config_.unk_id; }
  const Context& context() const { return context_; }
  std::vector<State> make_states(int64_t sequences) const;

 private:
  void check_target(const Target& target, const Memory& memory) const;
  // Makes each token's input product once where no dropout tells its places apart.
  Packed with_distinct_inputs(const Packed& packed, Saved& saved) const;
  Tensor embedded(const Tensor& ids) const;  // [R, Et]
  // The blocks of all steps, whose inputs and examples are there.
  void walk(Saved& saved, const Packed& packed, const Context::Prepared& prepared, const Memory& memory,
            const std::vector<State>& initial, const Dropout& dropout, const int64_t* example_ids,
            const Sampling& sampling) const;
  const Cell& cell(size_t layer) const { return stack_.cell(static_cast<int64_t>(layer)); }
  ZoneoutNames zoneout_names(const Dropout& dropout, const RowNames& names, size_t layer) const {
    return stack_.zoneout_names(dropout, names, kDropDecoderLayer, static_cast<int64_t>(layer), 0);
  }
  size_t layers() const { return static_cast<size_t>(config_.decoder_layers); }

  Config config_;
  Parameter embedding_;  // undefined where vectors are read
  RecurrentStack stack_;
  Context context_;
  Linear combine_;
};

}  // namespace s2s::model

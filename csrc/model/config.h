// The configuration of a network; python/seq2seq_fast/model.py has the same fields and says what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/recurrent_stack.h"
#include "model/time_windows.h"

namespace s2s::model {

enum class ContextKind { attention, last, mean };
enum class ScoreKind { dot, general, mlp };
enum class BridgeKind { copy, dense, zero };

// Layers of the encoder that walk over the same steps, and what one of these is of the layer below.
struct Segment {
  TimeWindow window;
  StackConfig stack;
};

struct Config {
  int64_t source_vocab_size = 0, source_features = 0, target_vocab_size = 0;
  int64_t target_features =
      0;  // above 0: the decoder reads vectors, and has no vocabulary (forecast_network.h)
  int64_t source_embedding_dim = 256, target_embedding_dim = 256;
  CellKind encoder_cell = CellKind::lstm, decoder_cell = CellKind::lstm;
  int64_t encoder_layers = 1, decoder_layers = 1, encoder_hidden = 256, decoder_hidden = 256;
  bool bidirectional = true;
  ContextKind context = ContextKind::attention;
  ScoreKind score = ScoreKind::general;
  int64_t attention_dim = 0;
  bool input_feeding = true;
  BridgeKind bridge = BridgeKind::dense;
  bool tie_output = false, reset_after = true, copy_attention = false, coverage = false;
  float coverage_loss = 0.0f, ctc_weight = 0.0f;
  int64_t location_filters = 0, location_width = 31;
  bool location_cumulative = true;
  std::vector<int64_t> encoder_pyramid;  // per layer, or empty
  bool pyramid_skips = false;
  int64_t conv_layers = 0, conv_channels = 64, conv_width = 3, conv_stride = 2;
  float dropout = 0.0f;
  std::optional<float> embedding_dropout, output_dropout;  // none: as dropout
  bool variational_dropout = false;
  bool residual = false, layer_norm = false, share_embeddings = false;
  bool share_recurrence =
      false;  // the decoder's layers are the encoder's (DeepAR); with target_features alone
  float word_dropout = 0.0f, zoneout_hidden = 0.0f, zoneout_cell = 0.0f;
  int32_t source_unk_id = 3;
  int32_t bos_id = 1, eos_id = 2, unk_id = 3, pad_id = 0;

  bool tokens_in() const { return source_vocab_size > 0; }
  bool tokens_out() const { return target_features == 0; }
  int64_t decoder_input() const { return tokens_out() ? target_embedding_dim : target_features; }
  bool attends() const { return context == ContextKind::attention; }
  int64_t source_width() const { return tokens_in() ? source_embedding_dim : source_features; }
  int64_t encoder_input() const { return conv_layers > 0 ? conv_channels : source_width(); }
  TimeWindow conv_window() const { return {conv_stride, conv_width, (conv_width - 1) / 2}; }
  bool recurs() const { return encoder_layers > 0; }  // else the encoder is a projection
  int64_t memory_width() const { return encoder_hidden * (bidirectional && recurs() ? 2 : 1); }
  int64_t attentional_width() const { return tie_output ? target_embedding_dim : decoder_hidden; }
  int64_t key_width() const {  // width of the attention's keys
    if (score == ScoreKind::mlp) return attention_dim ? attention_dim : decoder_hidden;
    return decoder_hidden;
  }
  // Whether attention sees what it has attended to: in all steps before, or in the last.
  bool tracks_attention() const { return coverage || location_filters > 0; }
  bool tracks_all_steps() const { return coverage || location_cumulative; }
  // Whether a decoder step needs what the last one came to, so that steps are taken one by one.
  bool stepwise() const { return input_feeding || tracks_attention(); }
  int64_t feed_width() const { return input_feeding ? attentional_width() : 0; }

  StackConfig encoder_stack() const {
    return stack(encoder_cell, encoder_input(), encoder_hidden, encoder_layers, bidirectional);
  }
  // The same in parts.
  std::vector<Segment> encoder_segments() const;
  // Steps of the source that one of the memory stands for.
  int64_t reduction() const;
  StackConfig decoder_stack() const {
    return stack(decoder_cell, decoder_input() + feed_width(), decoder_hidden, decoder_layers, false);
  }
  bool zoned() const { return encoder_stack().cell.zoned() || decoder_stack().cell.zoned(); }

  // Throws std::invalid_argument that names the field.
  void validate() const;

 private:
  StackConfig stack(CellKind kind, int64_t input, int64_t hidden, int64_t layers, bool both_ways) const {
    return {{kind, input, hidden, true, reset_after, zoneout_hidden, zoneout_cell},
            layers,
            both_ways,
            residual,
            layer_norm};
  }
};

}  // namespace s2s::model

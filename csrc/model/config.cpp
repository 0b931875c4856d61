#include "model/config.h"

#include "core/error.h"

namespace s2s::model {

std::vector<Segment> Config::encoder_segments() const {
  std::vector<Segment> segments;
  for (int64_t l = 0; l < encoder_layers; ++l) {
    const int64_t joined = encoder_pyramid.empty() ? 1 : encoder_pyramid[static_cast<size_t>(l)];
    if (l == 0 || joined > 1) {
      StackConfig layers = encoder_stack();
      const TimeWindow window{joined, pyramid_skips ? 1 : joined, 0};
      layers.cell.input = window.width * (l == 0 ? encoder_input() : memory_width());
      layers.layers = 0;
      layers.first = l;
      segments.push_back({window, layers});
    }
    ++segments.back().stack.layers;
  }
  return segments;
}

int64_t Config::reduction() const {
  int64_t product = 1;
  for (const int64_t joined : encoder_pyramid) product *= joined;
  for (int64_t l = 0; l < conv_layers; ++l) product *= conv_stride;
  return product;
}

void Config::validate() const {
  const char* op = "Seq2SeqConfig";
  const auto within = [&](const char* name, int64_t value, int64_t least, int64_t most) {
    check(op, value >= least && value <= most, "Expected ", name, " from ", least, " to ", most, ", got ",
          value, ".");
  };
  constexpr int64_t kMostIds = (int64_t{1} << 31) - 1, kWidest = 1 << 20, kDeepest = 32;
  within("target_features", target_features, 0, kWidest);
  within("target_vocab_size", target_vocab_size, tokens_out() ? 1 : 0, tokens_out() ? kMostIds : 0);
  within("source_vocab_size", source_vocab_size, 0, kMostIds);
  within("source_features", source_features, 0, kWidest);
  check(op, (source_vocab_size > 0) != (source_features > 0),
        "Expected one of source_vocab_size and source_features to be positive, got ", source_vocab_size,
        " and ", source_features, ".");
  within("source_embedding_dim", source_embedding_dim, 1, kWidest);
  within("target_embedding_dim", target_embedding_dim, 1, kWidest);
  within("encoder_layers", encoder_layers, 0, kDeepest);
  within("decoder_layers", decoder_layers, 1, kDeepest);
  within("encoder_hidden", encoder_hidden, 1, kWidest);
  within("decoder_hidden", decoder_hidden, 1, kWidest);
  within("attention_dim", attention_dim, 0, kWidest);
  within("conv_layers", conv_layers, 0, 8);
  within("conv_channels", conv_channels, 1, kWidest);
  within("conv_width", conv_width, 1, 1 << 10);
  within("conv_stride", conv_stride, 1, 64);
  within("location_filters", location_filters, 0, kWidest);
  within("location_width", location_width, 1, 1 << 16);
  check(op, encoder_pyramid.empty() || static_cast<int64_t>(encoder_pyramid.size()) == encoder_layers,
        "Expected encoder_pyramid of one number for each of the ", encoder_layers, " encoder_layers, got ",
        encoder_pyramid.size(), ".");
  for (const int64_t joined : encoder_pyramid) within("encoder_pyramid", joined, 1, 64);
  for (const auto& [name, p] : {std::pair{"dropout", dropout},
                                {"embedding_dropout", embedding_dropout.value_or(dropout)},
                                {"output_dropout", output_dropout.value_or(dropout)},
                                {"word_dropout", word_dropout},
                                {"zoneout_hidden", zoneout_hidden},
                                {"zoneout_cell", zoneout_cell}}) {
    check(op, p >= 0.0f && p < 1.0f, "Expected ", name, " from 0 to below 1, got ", p, ".");
  }
  check(op, !(attends() && score == ScoreKind::dot) || memory_width() == decoder_hidden,
        "Expected decoder_hidden equal to the width of the encoder's states for attention_score dot, got ",
        decoder_hidden, " and ", memory_width(), ".");
  check(op, bridge != BridgeKind::copy || memory_width() == decoder_hidden,
        "Expected decoder_hidden equal to the width of the encoder's states for bridge copy, got ",
        decoder_hidden, " and ", memory_width(), ".");
  check(op, !share_embeddings || tokens_in(), "Expected share_embeddings with a source of tokens.");
  check(op, !share_embeddings || source_vocab_size == target_vocab_size,
        "Expected source_vocab_size equal to target_vocab_size for share_embeddings, got ", source_vocab_size,
        " and ", target_vocab_size, ".");
  check(op, !share_embeddings || source_embedding_dim == target_embedding_dim,
        "Expected source_embedding_dim equal to target_embedding_dim for share_embeddings, got ",
        source_embedding_dim, " and ", target_embedding_dim, ".");
  if (!tokens_out()) {
    check(op, !tie_output && !share_embeddings && !copy_attention && word_dropout == 0.0f,
          "Expected target_features without tie_output, share_embeddings, copy_attention and word_dropout.");
    check(op, ctc_weight == 0.0f && location_filters == 0,
          "Expected target_features without ctc_weight and location_filters.");
  }
  if (share_recurrence) {
    const StackConfig a = encoder_stack(), b = decoder_stack();
    check(op, !tokens_out(), "Expected share_recurrence with target_features.");
    check(op,
          a.cell.kind == b.cell.kind && a.cell.input == b.cell.input && a.cell.hidden == b.cell.hidden &&
              a.layers == b.layers && !a.bidirectional && bridge == BridgeKind::copy,
          "Expected encoder and decoder of one cell, size, depth and input, in one direction, with bridge "
          "copy, "
          "for share_recurrence.");
  }
  check(op, word_dropout == 0.0f || !tokens_out() || (unk_id >= 0 && unk_id < target_vocab_size),
        "Expected unk_id from 0 to ", target_vocab_size - 1, " for word_dropout, got ", unk_id, ".");
  check(op, word_dropout == 0.0f || !tokens_in() || (source_unk_id >= 0 && source_unk_id < source_vocab_size),
        "Expected source_unk_id from 0 to ", source_vocab_size - 1, " for word_dropout, got ", source_unk_id,
        ".");
  check(op, !copy_attention || (attends() && tokens_in()),
        "Expected copy_attention with context attention and a source of tokens.");
  check(op, !coverage || (attends() && score == ScoreKind::mlp),
        "Expected coverage with context attention and attention_score mlp.");
  check(op, coverage_loss >= 0.0f && coverage_loss <= 1e6f, "Expected coverage_loss from 0 to 1e6, got ",
        coverage_loss, ".");
  check(op, coverage || coverage_loss == 0.0f, "Expected coverage_loss 0 without coverage, got ",
        coverage_loss, ".");
  check(op, location_width % 2 == 1, "Expected an odd location_width, got ", location_width, ".");
  check(op, location_filters == 0 || (attends() && score == ScoreKind::mlp),
        "Expected location_filters with context attention and attention_score mlp.");
  check(op, location_filters == 0 || !coverage || location_cumulative,
        "Expected location_cumulative with coverage.");
  check(op, ctc_weight >= 0.0f && ctc_weight < 1.0f, "Expected ctc_weight from 0 to below 1, got ",
        ctc_weight, ".");
  check(op, ctc_weight == 0.0f || !copy_attention, "Expected ctc_weight 0 with copy_attention, got ",
        ctc_weight, ".");
  check(
      op, reduction() == 1 || !copy_attention,
      "Expected encoder_pyramid and conv_stride of 1 with copy_attention: what is copied are single tokens.");
  check(op, !copy_attention || (unk_id >= 0 && unk_id < target_vocab_size), "Expected unk_id from 0 to ",
        target_vocab_size - 1, " for copy_attention, got ", unk_id, ".");
  if (!tokens_out()) return;
  for (const auto& [name, id] : {std::pair{"bos_id", bos_id}, {"eos_id", eos_id}}) {
    check(op, id >= 0 && id < target_vocab_size, "Expected ", name, " from 0 to ", target_vocab_size - 1,
          ", got ", id, ".");
  }
}

}  // namespace s2s::model

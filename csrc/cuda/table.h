// The kernels of the CUDA backend; defined in the files of this folder, gathered in table.cpp. The same as
// those of cpu/table.h, but that arrays lie on the device: all but SequenceShape's and
// SquaredNormArgs::result. Each enqueues its work on the current stream.
#pragma once

#include "ops/kernels.h"

namespace s2s::cuda {

// Until every kernel is written.
#define S2S_PENDING [[gnu::weak]]

S2S_PENDING int64_t packed_bytes(const PackShape& shape);
S2S_PENDING void pack(const PackArgs& args);
S2S_PENDING void matmul(const MatmulArgs& args);
S2S_PENDING void embedding(const EmbeddingArgs& args);
S2S_PENDING void embedding_backward(const EmbeddingArgs& args);
S2S_PENDING void lstm(const LstmArgs& args);
S2S_PENDING void lstm_backward(const LstmBackwardArgs& args);
S2S_PENDING void lstm_inference(const LstmInferenceArgs& args);
S2S_PENDING void gru(const GruArgs& args);
S2S_PENDING void gru_backward(const GruBackwardArgs& args);
S2S_PENDING void gru_inference(const GruInferenceArgs& args);
S2S_PENDING void attention(const AttentionArgs& args);
S2S_PENDING void attention_backward(const AttentionBackwardArgs& args);
S2S_PENDING void softmax(const SoftmaxArgs& args);
S2S_PENDING void softmax_backward(const SoftmaxBackwardArgs& args);
S2S_PENDING void cross_entropy(const CrossEntropyArgs& args);
S2S_PENDING void dropout(const DropoutArgs& args);
S2S_PENDING void tanh_backward(const TanhBackwardArgs& args);
S2S_PENDING void gather_rows(const GatherRowsArgs& args);
S2S_PENDING void column_sum(const ColumnSumArgs& args);
S2S_PENDING void segment_mean(const SegmentMeanArgs& args);
S2S_PENDING void segment_mean_backward(const SegmentMeanArgs& args);
S2S_PENDING void squared_norm(const SquaredNormArgs& args);
S2S_PENDING void scale(const ScaleArgs& args);
S2S_PENDING void add(const AddArgs& args);
S2S_PENDING void adam(const AdamArgs& args);
S2S_PENDING void sgd(const SgdArgs& args);
S2S_PENDING void adagrad(const AdagradArgs& args);
S2S_PENDING void topk(const TopkArgs& args);
S2S_PENDING void project_topk(const ProjectTopkArgs& args);
S2S_PENDING void pack_columns(const PackColumnsArgs& args);
S2S_PENDING void beam_step(const BeamStepArgs& args);

}  // namespace s2s::cuda

// The kernels of one instruction set; defined in the files of this folder, gathered in table.cpp.
#pragma once

#include "ops/kernels.h"

namespace s2s::S2S_ISA {

int64_t packed_bytes(const PackShape& shape);
void pack(const PackArgs& args);
void matmul(const MatmulArgs& args);
void round(const RoundArgs& args);
void embedding(const EmbeddingArgs& args);
void embedding_backward(const EmbeddingArgs& args);
void lstm(const LstmArgs& args);
void lstm_backward(const LstmBackwardArgs& args);
void lstm_inference(const LstmInferenceArgs& args);
void gru(const GruArgs& args);
void gru_backward(const GruBackwardArgs& args);
void gru_inference(const GruInferenceArgs& args);
void attention(const AttentionArgs& args);
void attention_backward(const AttentionBackwardArgs& args);
void softmax(const SoftmaxArgs& args);
void softmax_backward(const SoftmaxBackwardArgs& args);
void cross_entropy(const CrossEntropyArgs& args);
void copy_mass(const CopyMassArgs& args);
void copy_cross_entropy(const CopyCrossEntropyArgs& args);
void copy_log_softmax(const CopyLogSoftmaxArgs& args);
void coverage_loss(const CoverageLossArgs& args);
void ctc_loss(const CtcArgs& args);
void layer_norm(const LayerNormArgs& args);
void layer_norm_backward(const LayerNormBackwardArgs& args);
void distribution_loss(const DistributionLossArgs& args);
void distribution_parameters(const DistributionParametersArgs& args);
void distribution_sample(const DistributionSampleArgs& args);
void dropout(const DropoutArgs& args);
void zoneout(const ZoneoutArgs& args);
void zoneout_backward(const ZoneoutBackwardArgs& args);
void tanh_backward(const TanhBackwardArgs& args);
void gather_rows(const GatherRowsArgs& args);
void unfold(const UnfoldArgs& args);
void unfold_backward(const UnfoldArgs& args);
void column_sum(const ColumnSumArgs& args);
void segment_mean(const SegmentMeanArgs& args);
void segment_mean_backward(const SegmentMeanArgs& args);
void squared_norm(const SquaredNormArgs& args);
void scale(const ScaleArgs& args);
void add(const AddArgs& args);
void adam(const AdamArgs& args);
void sgd(const SgdArgs& args);
void adagrad(const AdagradArgs& args);
void average(const AverageArgs& args);
void sample(const SampleArgs& args);
void topk(const TopkArgs& args);
void project_topk(const ProjectTopkArgs& args);
void pack_columns(const PackColumnsArgs& args);
void beam_step(const BeamStepArgs& args);

}  // namespace s2s::S2S_ISA

// A backend is one of these tables: a pointer per leaf op. The contract of each stands in its op's header.
#pragma once

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/beam_step.h"
#include "ops/copy.h"
#include "ops/coverage.h"
#include "ops/cross_entropy.h"
#include "ops/ctc.h"
#include "ops/distribution.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "ops/gru_inference.h"
#include "ops/layer_norm.h"
#include "ops/lstm_inference.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/optimizers.h"
#include "ops/pack_columns.h"
#include "ops/project_topk.h"
#include "ops/reduce.h"
#include "ops/rows.h"
#include "ops/sample.h"
#include "ops/softmax.h"
#include "ops/topk.h"
#include "ops/unfold.h"
#include "ops/zoneout.h"

namespace s2s {

struct Kernels {
  const char* name;
  bool fast_int8;  // products of bytes are at least as fast as those of floats
  int64_t (*packed_bytes)(const PackShape&);
  void (*pack)(const PackArgs&);
  void (*matmul)(const MatmulArgs&);
  void (*round)(const RoundArgs&);  // null where no instruction multiplies ComputeType::bfloat16_pairs
  void (*embedding)(const EmbeddingArgs&);
  void (*embedding_backward)(const EmbeddingArgs&);
  void (*lstm)(const LstmArgs&);
  void (*lstm_backward)(const LstmBackwardArgs&);
  void (*lstm_inference)(const LstmInferenceArgs&);
  void (*gru)(const GruArgs&);
  void (*gru_backward)(const GruBackwardArgs&);
  void (*gru_inference)(const GruInferenceArgs&);
  void (*attention)(const AttentionArgs&);
  void (*attention_backward)(const AttentionBackwardArgs&);
  void (*softmax)(const SoftmaxArgs&);
  void (*softmax_backward)(const SoftmaxBackwardArgs&);
  void (*cross_entropy)(const CrossEntropyArgs&);
  void (*copy_mass)(const CopyMassArgs&);
  void (*copy_cross_entropy)(const CopyCrossEntropyArgs&);
  void (*copy_log_softmax)(const CopyLogSoftmaxArgs&);
  void (*coverage_loss)(const CoverageLossArgs&);
  void (*ctc_loss)(const CtcArgs&);
  void (*layer_norm)(const LayerNormArgs&);
  void (*layer_norm_backward)(const LayerNormBackwardArgs&);
  void (*distribution_loss)(const DistributionLossArgs&);
  void (*distribution_parameters)(const DistributionParametersArgs&);
  void (*distribution_sample)(const DistributionSampleArgs&);
  void (*dropout)(const DropoutArgs&);
  void (*zoneout)(const ZoneoutArgs&);
  void (*zoneout_backward)(const ZoneoutBackwardArgs&);
  void (*tanh_backward)(const TanhBackwardArgs&);
  void (*gather_rows)(const GatherRowsArgs&);
  void (*unfold)(const UnfoldArgs&);
  void (*unfold_backward)(const UnfoldArgs&);
  void (*column_sum)(const ColumnSumArgs&);
  void (*segment_mean)(const SegmentMeanArgs&);
  void (*segment_mean_backward)(const SegmentMeanArgs&);
  void (*squared_norm)(const SquaredNormArgs&);
  void (*scale)(const ScaleArgs&);
  void (*add)(const AddArgs&);
  void (*adam)(const AdamArgs&);
  void (*sgd)(const SgdArgs&);
  void (*adagrad)(const AdagradArgs&);
  void (*average)(const AverageArgs&);
  void (*sample)(const SampleArgs&);
  void (*topk)(const TopkArgs&);
  void (*project_topk)(const ProjectTopkArgs&);
  void (*pack_columns)(const PackColumnsArgs&);
  void (*beam_step)(const BeamStepArgs&);
};

// The table in use: the strongest instruction set of this processor, or the one S2S_CPU_ISA names. Chosen
// once, at first use.
const Kernels& kernels();
// The table of the backend of a device, which this thread then uses; std::runtime_error where it is absent.
const Kernels& kernels(Device device);

}  // namespace s2s

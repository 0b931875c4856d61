// The table of one instruction set, the only symbol by which ops/backend.cpp finds it.
#include "cpu/table.h"

#include "cpu/detail/weights.h"

#define S2S_TEXT(x) #x
#define S2S_NAME(x) S2S_TEXT(x)

namespace s2s::S2S_ISA {

extern const Kernels table;
const Kernels table = {
    S2S_NAME(S2S_ISA),
    kLanes > 4,
    packed_bytes,
    pack,
    matmul,
    kPairs ? round : nullptr,
    embedding,
    embedding_backward,
    lstm,
    lstm_backward,
    lstm_inference,
    gru,
    gru_backward,
    gru_inference,
    attention,
    attention_backward,
    softmax,
    softmax_backward,
    cross_entropy,
    copy_mass,
    copy_cross_entropy,
    copy_log_softmax,
    coverage_loss,
    ctc_loss,
    layer_norm,
    layer_norm_backward,
    distribution_loss,
    distribution_parameters,
    distribution_sample,
    dropout,
    zoneout,
    zoneout_backward,
    tanh_backward,
    gather_rows,
    unfold,
    unfold_backward,
    column_sum,
    segment_mean,
    segment_mean_backward,
    squared_norm,
    scale,
    add,
    adam,
    sgd,
    adagrad,
    average,
    sample,
    topk,
    project_topk,
    pack_columns,
    beam_step,
};

}  // namespace s2s::S2S_ISA

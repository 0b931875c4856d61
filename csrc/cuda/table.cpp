// The table of the CUDA backend.
#include "cuda/table.h"

namespace s2s::cuda {

extern const Kernels table;
const Kernels table = {
    "cuda",
    true,
    packed_bytes,
    pack,
    matmul,
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
    layer_norm,
    layer_norm_backward,
    dropout,
    zoneout,
    zoneout_backward,
    tanh_backward,
    gather_rows,
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

}  // namespace s2s::cuda

"""The network and every kernel of seq2seq_fast, written from the equations in float64 numpy.

It shares no code with the library and is made for reading: each sequence is processed alone, loops over time
are plain Python, nothing is fused. `vjp` (autodiff.py) differentiates any of these functions;
test_reference.py checks it with finite differences and with PyTorch in float64. The library is compared
with it.
"""

from __future__ import annotations

from reference.attention import attend, attention
from reference.autodiff import finite_difference_vjp, vjp
from reference.basic import (
    cross_entropy,
    embedding,
    layer_norm,
    linear,
    log_softmax,
    project_topk,
    sample,
    softmax,
    topk,
)
from reference.forecasting import (
    distribution_losses,
    draw_words,
    forecast_loss,
    forecast_offset,
    forecast_raw,
    log_gamma,
)
from reference.network import Options, decode, encode, log_probabilities, parameter_shapes, sequence_loss
from reference.optimizers import adagrad, adam, clip_grad_norm, sgd
from reference.random import dropout, dropout_mask, philox, uniforms
from reference.recurrent import gru, gru_cell, lstm, lstm_cell, sigmoid

__all__ = [
    "Options",
    "adagrad",
    "adam",
    "attend",
    "attention",
    "clip_grad_norm",
    "cross_entropy",
    "decode",
    "distribution_losses",
    "draw_words",
    "dropout",
    "dropout_mask",
    "embedding",
    "encode",
    "finite_difference_vjp",
    "forecast_loss",
    "forecast_offset",
    "forecast_raw",
    "gru",
    "gru_cell",
    "layer_norm",
    "linear",
    "log_gamma",
    "log_probabilities",
    "log_softmax",
    "lstm",
    "lstm_cell",
    "parameter_shapes",
    "philox",
    "project_topk",
    "sample",
    "sequence_loss",
    "sgd",
    "sigmoid",
    "softmax",
    "topk",
    "uniforms",
    "vjp",
]

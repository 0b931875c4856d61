"""seq2seq_fast: train and run recurrent encoder-decoders in fused native kernels.

Importing the package loads numpy and the native extension, nothing else; the names below are loaded when
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seq2seq_fast._native import (
    DeviceArray,
    __version__,
    cpu_isa,
    cpu_isas,
    get_num_threads,
    memory_stats,
    release_memory,
    set_num_threads,
)

if TYPE_CHECKING:
    from seq2seq_fast import nn, ops, search
    from seq2seq_fast.cuda import cuda_status
    from seq2seq_fast.data import Batch
    from seq2seq_fast.device import to_device
    from seq2seq_fast.forecaster import Forecast, Forecaster
    from seq2seq_fast.forecasting import ForecastConfig, ForecastData, ForecastModel, TimeSeries
    from seq2seq_fast.model import Decoder, Encoder, Seq2Seq, Seq2SeqConfig
    from seq2seq_fast.optim import SGD, Adagrad, Adam, AdamW
    from seq2seq_fast.trainer import Trainer
    from seq2seq_fast.translator import ScoringResult, TranslationResult, Translator
    from seq2seq_fast.vocab import Vocabulary

_WHERE = {
    "Adagrad": "optim",
    "Adam": "optim",
    "AdamW": "optim",
    "Batch": "data",
    "Decoder": "model",
    "Encoder": "model",
    "Forecast": "forecaster",
    "ForecastConfig": "forecasting",
    "ForecastData": "forecasting",
    "ForecastModel": "forecasting",
    "Forecaster": "forecaster",
    "SGD": "optim",
    "ScoringResult": "translator",
    "Seq2Seq": "model",
    "Seq2SeqConfig": "model",
    "TimeSeries": "forecasting",
    "Trainer": "trainer",
    "TranslationResult": "translator",
    "Translator": "translator",
    "Vocabulary": "vocab",
    "cuda_status": "cuda",
    "to_device": "device",
}
_MODULES = (
    "cuda",
    "data",
    "device",
    "files",
    "forecasting",
    "metrics",
    "model",
    "nn",
    "ops",
    "optim",
    "search",
    "tokenizers",
    "trainer",
    "vocab",
)

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Batch",
    "Decoder",
    "DeviceArray",
    "Encoder",
    "Forecast",
    "ForecastConfig",
    "ForecastData",
    "ForecastModel",
    "Forecaster",
    "ScoringResult",
    "Seq2Seq",
    "Seq2SeqConfig",
    "TimeSeries",
    "Trainer",
    "TranslationResult",
    "Translator",
    "Vocabulary",
    "__version__",
    "cpu_isa",
    "cpu_isas",
    "cuda_status",
    "get_num_threads",
    "memory_stats",
    "nn",
    "ops",
    "release_memory",
    "search",
    "set_num_threads",
    "to_device",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"seq2seq_fast.{_WHERE[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"seq2seq_fast.{name}")
    raise AttributeError(f"module 'seq2seq_fast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE, *_MODULES})

"""Forecaster: a trained forecasting model in a service, from the past of series to their future.

`n` and `num_samples` are Darts' names, what is returned holds what GluonTS's Forecast does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from seq2seq_fast import _native
from seq2seq_fast.arguments import choice, integer, number
from seq2seq_fast.device import resolve_device
from seq2seq_fast.forecasting.files import load_forecast_model
from seq2seq_fast.forecasting.model import ForecastModel
from seq2seq_fast.forecasting.prediction import Forecast, forecast, series_id
from seq2seq_fast.forecasting.series import TimeSeries
from seq2seq_fast.forecasting.windows import Prepared
from seq2seq_fast.quantization import COMPUTE_TYPES

__all__ = ["Forecast", "Forecaster"]

OP = "Forecaster"


class Forecaster:
    """Reads a forecasting model's folder once and answers calls from any number of threads.

    A forecast depends on its series, the options and the seed alone: not on the other series of a call, on
    other calls, or on how many threads there are.

    Args:
        path: the model's folder.
        device: "cpu", "cuda", "cuda:1" ...; "auto": CUDA where it is ready, else the CPU.
        compute_type: what matrices are multiplied in: "default" (float32), "float32", "float16", "bfloat16"
            or "int8"; "auto": the fastest that this processor does well, int8 or float32.

    Raises:
        FileNotFoundError, ValueError: the folder is none, or damaged; the message names file and field.
        RuntimeError: there is no such device.
    """

    def __init__(
        self, path: str | os.PathLike[str], device: str = "auto", *, compute_type: str = "default"
    ) -> None:
        choice(OP, "compute_type", compute_type, ("default", "auto", *COMPUTE_TYPES))
        self.device = resolve_device(OP, device, auto=True)
        """Where the model lies: "cpu", "cuda:0", ..."""
        model = load_forecast_model(path, self.device, compute_type=compute_type, trainable=False)
        self._model: ForecastModel | None = model
        self.config = model.config
        self.compute_type = model.native.compute_type
        """What matrices are multiplied in."""

    def predict(
        self,
        past: Any,
        n: int | None = None,
        num_samples: int = 100,
        covariates: Any = None,
        quantiles: Sequence[float] | None = None,
        seed: int | None = None,
        *,
        start: Any = None,
        step: Any = None,
        static: Any = None,
    ) -> Any:
        """Forecast the steps after a series, or after each of several.

        Args:
            past: the values [T, D] or [T] of a series, NaN where one is missing, or a `TimeSeries`; or a list
                of them. T is at least 1; of longer pasts the last context_length steps are read, and what
                lags and a seasonal skip reach.
            n: steps to forecast; None: the model's prediction_length.
            num_samples: sample paths; the past is encoded once for all of them. 0: parameters alone, of a
                model without lags.
            covariates: [T + n, C] from the first step of past on, of a model that reads them; of a list of
                series a list.
            quantiles: levels to return, each of them [n, D]; of a model without lags whose distribution is
                quantiles they are its own, interpolated, else those of the samples.
            seed: the same seed gives the same paths, alone and in any batch; series with the same values have
                the same random numbers. None: one that nobody knows.
            start, step: the time of the first step of past and the time between steps, of a model that reads
                the calendar; those of a `TimeSeries` are its own.
            static: [S] of a model that reads it; of a list of series a list.

        Returns:
            A `Forecast`, or a list of them: samples [num_samples, n, D], mean, parameters, quantiles.

        Raises:
            ValueError, TypeError: an argument; the message names it.
            RuntimeError: the forecaster is closed.
        """
        op = "predict"
        model = self._model
        if model is None:
            raise RuntimeError(f"[{op}] The forecaster is closed.")
        steps = self.config.prediction_length if n is None else integer(op, "n", n, 1, 1 << 20)
        if self.config.linear_skip and steps > self.config.prediction_length:
            raise ValueError(
                f"[{op}] Expected n of at most {self.config.prediction_length}, the prediction_length of a "
                f"model with linear_skip, got {steps}."
            )
        integer(op, "num_samples", num_samples, 0, 1 << 24)
        levels = [] if quantiles is None else [number(op, "quantiles", q, 0.0, 1.0) for q in quantiles]
        own = not self.config.lags
        if num_samples == 0 and not (own and (not levels or self.config.distribution == "quantiles")):
            raise ValueError(
                f"[{op}] Expected num_samples of at least 1, got 0: a model with lags gives paths, and "
                "quantiles are those of paths but of a model of quantiles without lags."
            )
        key = secrets.randbits(63) if seed is None else integer(op, "seed", seed, 0, 2**64 - 1)
        many = isinstance(past, list | tuple) and (
            not past or isinstance(past[0], TimeSeries) or np.ndim(past[0]) >= 1
        )
        pasts = list(past) if many else [past]
        series = [
            _series(one, i if many else None, covariates, static, start, step) for i, one in enumerate(pasts)
        ]
        prepared = []
        for one in series:
            ready = Prepared(one, self.config, steps)
            if ready.covered < len(one) + steps:
                raise ValueError(
                    f"[{op}] Expected covariates of {len(one) + steps} steps, the past's and the {steps} to "
                    f"forecast, got {ready.covered}."
                )
            prepared.append(ready)
        found = forecast(
            model,
            prepared,
            [len(one) for one in series],
            [series_id(one.values) for one in series],
            steps,
            num_samples=num_samples,
            seed=key,
            quantiles=levels,
        )
        return found if many else found[0]

    def close(self) -> None:
        """Give the model's memory back when the calls under way have ended; later ones raise RuntimeError."""
        self._model = None
        _native.release_memory()

    def __enter__(self) -> Forecaster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _series(past: Any, i: int | None, covariates: Any, static: Any, start: Any, step: Any) -> TimeSeries:
    """The TimeSeries of one past, number i of a list or the only one."""

    def own(name: str, values: Any) -> Any:
        if values is None or i is None:
            return values
        if not isinstance(values, list | tuple) or i >= len(values):
            raise ValueError(f"[predict] Expected {name} as a list with one for each series of past.")
        return values[i]

    known, fixed = own("covariates", covariates), own("static", static)
    if isinstance(past, TimeSeries):
        if known is None and fixed is None:
            return past
        return TimeSeries(
            past.values,
            past.start,
            past.step,
            past.covariates if known is None else known,
            past.static if fixed is None else fixed,
            past.name,
        )
    return TimeSeries(past, start, step, known, fixed)

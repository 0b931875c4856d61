"""Time series: probabilistic forecasts by recurrent encoder-decoders. docs/forecasting.md is the guide."""

from __future__ import annotations

from seq2seq_fast.forecasting.config import ForecastConfig
from seq2seq_fast.forecasting.evaluation import evaluate, rolling_origins
from seq2seq_fast.forecasting.files import load_forecast_model, save_forecast_model
from seq2seq_fast.forecasting.model import ForecastModel
from seq2seq_fast.forecasting.series import TimeSeries
from seq2seq_fast.forecasting.tables import read_series
from seq2seq_fast.forecasting.windows import ForecastData

__all__ = [
    "ForecastConfig",
    "ForecastData",
    "ForecastModel",
    "TimeSeries",
    "evaluate",
    "load_forecast_model",
    "read_series",
    "rolling_origins",
    "save_forecast_model",
]

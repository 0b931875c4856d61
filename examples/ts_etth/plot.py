"""Draw forecasts with their intervals beside what came: plot.py MODEL TABLE ORIGIN PICTURE [CHANNELS]

MODEL is a model's folder, ORIGIN the step at which the forecast begins, CHANNELS how many are drawn (3). The
bands hold 50 and 90 of 100 sample paths; of a model of means there is the line alone. Needs matplotlib.
"""

from __future__ import annotations

import sys
from typing import Any

from seq2seq_fast import Forecaster, TimeSeries
from seq2seq_fast.forecasting import read_series
from seq2seq_fast.forecasting.files import read_table

LEVELS = (0.05, 0.25, 0.75, 0.95)


def main(model: str, table: str, origin: str, picture: str, channels: str = "3") -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns: dict[str, Any] = read_table(model) or {}
    (series,) = read_series(table, **columns)
    at = int(origin)
    past = TimeSeries(series.values[:at], series.start, series.step, series.covariates, series.static)
    with Forecaster(model) as forecaster:
        n = forecaster.config.prediction_length
        found = forecaster.predict(past, num_samples=100, quantiles=LEVELS, seed=0)
        paths = forecaster.config.distribution != "point"
    times = series.times(at - 2 * n, at + n)
    shown = min(int(channels), series.channels)
    figure, rows = pyplot.subplots(shown, 1, figsize=(9, 2.2 * shown), sharex=True, squeeze=False)
    for d, (axes,) in enumerate(rows):
        truth = series.values[max(at - 2 * n, 0) : at + n, d]
        axes.plot(times[-len(truth) :], truth, color="0.35", lw=1, label="measured")
        ahead = times[-n:]
        if paths:
            for low, high, shade in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.35)):
                band = found.quantiles[low][:, d], found.quantiles[high][:, d]
                axes.fill_between(
                    ahead, *band, color="C0", alpha=shade, lw=0, label=f"{high - low:.0%} of paths"
                )
        axes.plot(ahead, found.mean[:, d], color="C0", lw=1.5, label="forecast")
        axes.set_ylabel(series.columns[d] if series.columns else str(d))
    rows[0][0].legend(loc="upper left", ncols=4, fontsize=8)
    figure.autofmt_xdate()
    figure.tight_layout()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])

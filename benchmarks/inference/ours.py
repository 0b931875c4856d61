"""Our side: a layer, or a network that decodes, that computes in a given type. The only file of this suite
that knows how one is made."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from seq2seq_fast import Seq2SeqConfig, _native, get_num_threads, nn

from .contestant import Floats


class NotInThisBuild(Exception):
    """This build of seq2seq_fast does not compute in that type."""

    def __init__(self, compute_type: str, why: str = "") -> None:
        super().__init__(f"{compute_type}: not in this build{': ' + why if why else ''}")


def layer(
    kind: str, input_size: int, hidden_size: int, compute_type: str, state: Mapping[str, Floats]
) -> nn.LSTM | nn.GRU:
    """`nn.LSTM` or `nn.GRU` in inference mode, with these weights."""
    make: Any = getattr(nn, kind)
    options = {} if compute_type == "float32" else {"compute_type": compute_type}
    if options and "compute_type" not in inspect.signature(make).parameters:
        raise NotInThisBuild(compute_type)
    try:
        result: nn.LSTM | nn.GRU = make(input_size, hidden_size, **options)
    except ValueError as error:
        raise NotInThisBuild(compute_type, str(error)) from None
    result.load_state_dict(state)
    result.eval()
    return result


class Network:
    """What `Translator` decodes with: the packed weights alone, and as many threads as are set now."""

    def __init__(
        self,
        config: Seq2SeqConfig,
        compute_type: str,
        parameters: Mapping[str, np.ndarray],
        device: str = "cpu",
    ) -> None:
        model = self._model(config, compute_type, device)
        for name, values in parameters.items():
            model.load_parameter(name, values)
        self._translator = _native.Translator([model], "probability", 1, get_num_threads())

    @staticmethod
    def _model(config: Seq2SeqConfig, compute_type: str, device: str) -> _native.Model:
        make: Any = _native.Model
        options = {} if compute_type == "float32" else {"compute_type": compute_type}
        if device != "cpu":
            options["device"] = device
        try:
            made: _native.Model = make(asdict(config), trainable=False, **options)
        except TypeError:
            raise NotInThisBuild(compute_type) from None
        except ValueError as error:
            raise NotInThisBuild(compute_type, str(error)) from None
        return made

    def search(self, source: np.ndarray, beam: int, length: int) -> tuple[list[list[int]], list[float]]:
        """The best `length` tokens for each source [N, S], <eos> forbidden before the last, and their
        log-probabilities' sums."""
        lengths = np.full(len(source), source.shape[1], np.int32)
        options = {
            "beam_size": beam,
            "num_hypotheses": 1,
            "length_penalty": 0.0,
            "min_decoding_length": length,
            "max_decoding_length": length,
        }
        results = self._translator.generate(source.ravel(), lengths, options)
        return [r[0].tokens for r in results], [r[0].log_prob for r in results]

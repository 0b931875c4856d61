"""LSTM and GRU layers and cells. One native call per sequence batch; weights are packed once and again when
they change. A layer lies on a device, and so must the arrays it is given; those it returns do, too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast.arguments import array, flag, integer, number, only_step
from seq2seq_fast.device import A, DeviceArray, Ids, resolve_device, to_host, views

Floats = NDArray[np.float32]


class _Recurrent:
    """What layers and cells share: parameters by name, training mode, dropout's counter."""

    _kind: str
    _suffix = ""  # of native parameter names, hidden from state_dict

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        bidirectional: bool,
        reset_after: bool,
        dropout: float,
        seed: int,
        compute_type: str,
        device: str,
    ) -> None:
        name = type(self).__name__
        self.input_size = integer(name, "input_size", input_size, 1, 2**31 - 1)
        self.hidden_size = integer(name, "hidden_size", hidden_size, 1, 2**31 - 1)
        self.num_layers = integer(name, "num_layers", num_layers, 1, 64)
        self.bias = flag(name, "bias", bias)
        self.bidirectional = flag(name, "bidirectional", bidirectional)
        flag(name, "reset_after", reset_after)
        self.dropout = number(name, "dropout", dropout)
        self.seed = integer(name, "seed", seed, 0, 2**64 - 1)
        self.training = False
        self._update = 0
        self._saved: _native.LayerSaved | None = None
        self._native = _native.Layer(
            self._kind,
            input_size,
            hidden_size,
            num_layers,
            bias,
            bidirectional,
            reset_after,
            dropout,
            compute_type,
            resolve_device(name, device),
        )
        self.compute_type = self._native.compute_type
        self.device = self._native.device
        # PyTorch's initialisation: uniform in +-1 / sqrt(H).
        bound = 1.0 / math.sqrt(hidden_size)
        rng = np.random.Generator(np.random.Philox(seed))
        for name, shape, _, _ in self._native.layout():
            self._native.load_parameter(name, rng.uniform(-bound, bound, shape).astype(np.float32))

    def _views(self, buffer: Any) -> dict[str, Any]:
        return {
            name.removesuffix(self._suffix): view
            for name, view in views(self._native.layout(), buffer).items()
        }

    def parameters(self) -> dict[str, Any]:
        """Views of the parameters by name: numpy arrays to write to, or `DeviceArray`s. A change is noticed
        at the next call."""
        return self._views(self._native.params)

    def gradients(self) -> dict[str, Any]:
        """Views of the last backward's gradients, named as the parameters."""
        return self._views(self._native.grads)

    def state_dict(self) -> dict[str, Floats]:
        """Copies of the parameters under PyTorch's names."""
        return {name.removesuffix(self._suffix): value for name, value in self._native.state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take parameters from arrays, or anything numpy understands (tensors of PyTorch too), of the same
        names, wherever they lie.

        Raises:
            ValueError: a name is missing or unknown, or a shape differs; nothing is changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"[load_state_dict] Expected state as a mapping of names to arrays, "
                f"got {type(state).__name__}."
            )
        own = {name.removesuffix(self._suffix): shape for name, shape, _, _ in self._native.layout()}
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(
                f"[load_state_dict] Expected the names {', '.join(own)}; "
                f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}."
            )
        arrays = {}
        for name, value in state.items():
            detach = getattr(value, "detach", None)
            values = np.asarray(detach().cpu() if detach else to_host(value))
            if values.shape != own[name]:
                raise ValueError(
                    f"[load_state_dict] Expected {name} of shape {list(own[name])}, got {list(values.shape)}."
                )
            if not np.issubdtype(values.dtype, np.floating):
                raise TypeError(f"[load_state_dict] Expected {name} of floats, got {values.dtype}.")
            arrays[name] = np.asarray(values, np.float32)
        for name, values in arrays.items():
            self._native.load_parameter(name + self._suffix, values)

    def train(self, mode: bool = True) -> Any:
        """Training mode: dropout is on, and a call keeps what `backward` needs. Returns the layer.

        Raises:
            ValueError: the compute_type is neither float32 nor bfloat16.
        """
        if mode and self.compute_type not in ("float32", "bfloat16"):
            raise ValueError(
                f"[{type(self).__name__}] Expected compute_type float32 or bfloat16 to train, "
                f"got {self.compute_type}."
            )
        self.training = mode
        self._saved = None
        return self

    def eval(self) -> Any:
        """Inference mode, the mode a layer starts in. Returns the layer."""
        return self.train(False)

    def _forward(self, x: Any, lengths: Any, h0: Any, c0: Any) -> tuple[Any, Any, Any]:
        y, h, c, saved = self._native.forward(
            x, lengths, h0, c0, self.training, self.seed, self._update & 0xFFFFFFFF
        )
        if self.training:
            self._saved = saved
            self._update += 1
        return y, h, c

    def _backward(self, dy: Any, dh: Any, dc: Any) -> tuple[Any, Any, Any]:
        saved, self._saved = self._saved, None
        if saved is None:
            raise RuntimeError(
                f"[{type(self).__name__}] backward needs a call in training mode before it, and uses it up: "
                "call train(), then the layer, then backward."
            )
        return self._native.backward(saved, dy, dh, dc)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size})"


def _pair(op: str, name: str, value: Any) -> tuple[Any, Any]:
    if value is None:
        return None, None
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"[{op}] Expected {name} as a pair (h, c), got {type(value).__name__}.")
    return value[0], value[1]


class _Layer(_Recurrent):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        reset_after: bool,
        seed: int,
        compute_type: str,
        device: str,
    ) -> None:
        self.batch_first = flag(type(self).__name__, "batch_first", batch_first)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            bidirectional,
            reset_after,
            dropout,
            seed,
            compute_type,
            device,
        )

    def _turn(self, name: str, value: Any) -> Any:
        """[N, T, .] <-> [T, N, .] where batch_first."""
        if value is None or not self.batch_first:
            return value
        value = array(self._kind, name, value, (None,) * 3)
        if isinstance(value, DeviceArray):
            return _native.swap_axes(value)
        return np.ascontiguousarray(value.swapaxes(0, 1))


class LSTM(_Layer):
    """Layers of LSTM in one or both directions, as torch.nn.LSTM, over batches of different lengths.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as in PyTorch.
            dropout acts between layers, in training mode.
        seed: of the initial parameters and of dropout.
        compute_type: what the weights are multiplied as: float32, float16, bfloat16, int8, or auto for the
            fastest that this processor does well. int8 has a scale per row of the weights and per row
            of x. Training takes float32 or bfloat16, see `Seq2Seq.forward_backward`.
        device: where the layer lies and runs: cpu, cuda, cuda:1 ...
    """

    _kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        seed: int = 0,
        compute_type: str = "float32",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            True,
            seed,
            compute_type,
            device,
        )

    def __call__(
        self, x: A, state: tuple[A, A] | None = None, lengths: Ids | None = None
    ) -> tuple[A, tuple[A, A]]:
        """Run whole sequences.

        Args:
            x: [T, N, C] ([N, T, C] with batch_first).
            state: (h0, c0), each [L D, N, H]; zeros where None.
            lengths: [N] steps of each sequence, 1 .. T, in any order; all T where None.

        Returns:
            y [T, N, D H] (batch_first: [N, T, D H]), zero past each length, and (h, c), each [L D, N, H],
            every sequence's own last states.

        Raises:
            ValueError, TypeError: a shape, length or dtype is wrong; the message names the argument.
        """
        h0, c0 = (None, None) if state is None else _pair("lstm", "state", state)
        if lengths is None and not (self.training or self.batch_first):
            found: tuple[A, tuple[A, A]] = self._native.infer(x, h0, c0)
            return found
        y, h, c = self._forward(self._turn("x", x), lengths, h0, c0)
        return self._turn("y", y), (h, c)

    def backward(
        self, dy: A | None, dstate: tuple[A | None, A | None] | None = None
    ) -> tuple[A, tuple[A, A]]:
        """Gradients of the last call in training mode; those of the parameters are in `gradients()`.

        Args:
            dy: like y, or None.
            dstate: (dh, dc) like (h, c), either or both None.

        Returns:
            dx like x, and (dh0, dc0).
        """
        dh, dc = _pair("lstm_backward", "dstate", dstate)
        dx, dh0, dc0 = self._backward(self._turn("dy", dy), dh, dc)
        return self._turn("dx", dx), (dh0, dc0)


class GRU(_Layer):
    """Layers of GRU in one or both directions, as torch.nn.GRU, over batches of different lengths.

    Args:
        reset_after: False puts the reset gate before the recurrent product (Keras' default, ONNX'
            linear_before_reset=0); PyTorch and cuDNN put it after. Other arguments as in `LSTM`.
    """

    _kind = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        reset_after: bool = True,
        *,
        seed: int = 0,
        compute_type: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.reset_after = reset_after
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            reset_after,
            seed,
            compute_type,
            device,
        )

    def __call__(self, x: A, h0: A | None = None, lengths: Ids | None = None) -> tuple[A, A]:
        """Run whole sequences: (y [T, N, D H], h [L D, N, H]). Arguments and errors as in `LSTM`."""
        if lengths is None and not (self.training or self.batch_first):
            found: tuple[A, A] = self._native.infer(x, h0, None)
            return found
        y, h, _ = self._forward(self._turn("x", x), lengths, h0, None)
        return self._turn("y", y), h

    def backward(self, dy: A | None, dh: A | None = None) -> tuple[A, A]:
        """Gradients of the last call in training mode: (dx, dh0). See `LSTM.backward`."""
        dx, dh0, _ = self._backward(self._turn("dy", dy), dh, None)
        return self._turn("dx", dx), dh0


class _Cell(_Recurrent):
    _suffix = "_l0"

    def _step(self, name: str, value: Any, rows: int | None, width: int) -> Any:
        """[N, width] as [1, N, width]; None stays."""
        return None if value is None else self._as_step(name, value, rows, width)

    def _as_step(self, name: str, value: Any, rows: int | None, width: int) -> Any:
        step = array(f"{self._kind}_cell", name, value, (rows, width), np.float32)
        return step.reshape(1, *step.shape)

    def _states(self, like: str, parts: tuple[Any, Any], rows: int | None) -> tuple[Any, Any]:
        """A pair of states or of their gradients, prefixed `like` in messages."""
        h, c = (
            self._step(like + name, part, rows, self.hidden_size)
            for name, part in zip(("h", "c"), parts, strict=True)
        )
        return h, c

    def _input(self, x: Any) -> Any:
        return self._as_step("x", x, None, self.input_size)


class LSTMCell(_Cell):
    """One step of an LSTM, as torch.nn.LSTMCell."""

    _kind = "lstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        seed: int = 0,
        compute_type: str = "float32",
        device: str = "cpu",
    ) -> None:
        super().__init__(input_size, hidden_size, 1, bias, False, True, 0.0, seed, compute_type, device)

    def __call__(self, x: A, state: tuple[A, A] | None = None) -> tuple[A, A]:
        """x [N, C], state (h, c) of [N, H] or None for zeros -> (h, c) of [N, H]."""
        step = self._input(x)
        h0, c0 = self._states("", _pair("lstm_cell", "state", state), step.shape[1])
        _, h, c = self._forward(step, None, h0, c0)
        return only_step(h), only_step(c)

    def backward(self, dstate: tuple[A, A]) -> tuple[A, tuple[A, A]]:
        """(dh, dc) of the last call in training mode -> dx and (dh, dc) of its state."""
        dh, dc = self._states("d", _pair("lstm_cell", "dstate", dstate), None)
        dx, dh0, dc0 = self._backward(None, dh, dc)
        return only_step(dx), (only_step(dh0), only_step(dc0))


class GRUCell(_Cell):
    """One step of a GRU, as torch.nn.GRUCell; reset_after as in `GRU`."""

    _kind = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        reset_after: bool = True,
        *,
        seed: int = 0,
        compute_type: str = "float32",
        device: str = "cpu",
    ) -> None:
        self.reset_after = reset_after
        super().__init__(
            input_size, hidden_size, 1, bias, False, reset_after, 0.0, seed, compute_type, device
        )

    def __call__(self, x: A, h: A | None = None) -> A:
        """x [N, C], h [N, H] or None for zeros -> h [N, H]."""
        step = self._input(x)
        h0, _ = self._states("", (h, None), step.shape[1])
        _, out, _ = self._forward(step, None, h0, None)
        result: A = only_step(out)
        return result

    def backward(self, dh: A) -> tuple[A, A]:
        """dh of the last call in training mode -> (dx, dh of its state)."""
        dh_n, _ = self._states("d", (dh, None), None)
        dx, dh0, _ = self._backward(None, dh_n, None)
        return only_step(dx), only_step(dh0)

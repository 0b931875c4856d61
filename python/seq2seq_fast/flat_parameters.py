"""What every trainable model has: named parameters and gradients, views of one flat buffer each."""

from __future__ import annotations

from typing import Any

from seq2seq_fast import _native
from seq2seq_fast.arguments import flag
from seq2seq_fast.device import views


class FlatParameters:
    """The parameters of `native`, a model of the extension."""

    def __init__(self, native: Any) -> None:
        self.native = native
        self._layout: _native.Layout = native.layout()

    @property
    def device(self) -> str:
        """Where the model lies: "cpu", "cuda:0", ..."""
        device: str = self.native.device
        return device

    def parameters(self) -> dict[str, Any]:
        """Every parameter by name: views of one flat buffer, numpy arrays to write to or `DeviceArray`s. A
        change is noticed at the next call."""
        return views(self._layout, self.native.params)

    def gradients(self) -> dict[str, Any]:
        """The last `forward_backward`'s gradients, views by the parameters' names."""
        return views(self._layout, self.native.grads)

    @property
    def flat_parameters(self) -> Any:
        """float32 [P]: the buffer itself, a numpy array or a `DeviceArray`. Views in it begin at multiples of
        16 elements; what lies between is zero."""
        return self.native.params

    @property
    def flat_gradients(self) -> Any:
        """float32 [P], laid out as flat_parameters."""
        return self.native.grads

    def layout(self) -> list[tuple[str, tuple[int, ...], int, bool]]:
        """(name, shape, offset in flat_parameters, whether weight decay applies) of every parameter."""
        return list(self._layout)

    def weights_changed(self) -> None:
        """Pack the weights anew at the next inference. Never needed for correct results; it saves a
        comparison."""
        self.native.weights_changed()

    def freeze(self, *names: str, frozen: bool = True) -> None:
        """Keep parameters as they are: from now on their gradients are 0, and a `Trainer` does not change
        them. `frozen=False` undoes it. A model's folder knows nothing of it.

        Raises:
            ValueError: there is no such parameter.
        """
        known = {name for name, *_ in self._layout}
        for name in names:
            if name not in known:
                raise ValueError(f"[freeze] Expected names of parameters, got {name!r}.")
        flag("freeze", "frozen", frozen)
        for name in names:
            self.native.set_frozen(name, frozen)

    @property
    def frozen(self) -> list[str]:
        """The names of the parameters that `freeze` keeps."""
        names: list[str] = self.native.frozen
        return names

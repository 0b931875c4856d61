"""`pytest --device cuda`: the same tests, on a CUDA device or an emulated one.

Tests are written with numpy arrays. Here the package's public functions are wrapped so that, when a test
calls them, float32 arrays go to the device and results come back; layers, models and translators are made
there unless a test says where. Calls within the package are left alone: what runs between the borders is the
package as it is, and so are the tests of the movement itself (test_device_array.py).

Parameters and gradients, which a test may write to, are mirrors on the host: written to the device before
each native call of their model, read from it afterwards.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from seq2seq_fast import _native, device, files, model, nn, ops, optim
from seq2seq_fast._native import DeviceArray

DEVICE = "cuda"


def install() -> None:
    """Wrap the package, for the rest of the process."""
    for name in ops.__all__:
        if name != "philox":
            replace(ops, name, functools.partial(on_device, in_place=name.endswith("_")))
    for layer in (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell):
        replace(layer, "__init__", with_device)
        for name in ("__call__", "backward"):
            replace(layer, name, on_device)
        for name in ("parameters", "gradients"):
            replace(layer, name, mirrored)
    replace(model.Seq2Seq, "__init__", with_device)
    for name in ("parameters", "gradients"):
        replace(model.Seq2Seq, name, mirrored)
    for name in ("flat_parameters", "flat_gradients"):
        setattr(model.Seq2Seq, name, property(mirrored(getattr(model.Seq2Seq, name).fget)))
    model.Seq2Seq.load = staticmethod(with_device(model.Seq2Seq.load))  # type: ignore[assignment,method-assign]
    replace(model.Seq2Seq, "stream", pushed)
    replace(files, "load_model", with_device)
    replace(optim.Optimizer, "step", functools.partial(on_device, in_place=True))
    for kind in (_native.Layer, _native.Model):
        for name, member in vars(kind).items():
            if not name.startswith("_") and callable(member) and "layout" not in name:
                replace(kind, name, in_step)
    # "auto" takes an emulated device, too.
    device.cuda_status = lambda: "ready: " + DEVICE  # type: ignore[assignment]


def replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    setattr(owner, name, wrap(getattr(owner, name)))


def left_alone() -> bool:
    """Whether what is wrapped was called by the package, or by the tests that move arrays themselves."""
    caller = str(sys._getframe(2).f_globals.get("__name__", ""))
    return caller.startswith("seq2seq_fast") or caller.endswith("test_device_array")


def with_device(function: Any) -> Any:
    """Made on the device unless the test says where."""

    @functools.wraps(function)
    def made(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs if left_alone() else {"device": DEVICE, **kwargs})

    return made


def on_device(function: Any, *, in_place: bool = False) -> Any:
    """Arguments go to the device and results come back; what is written in place comes back, too."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if left_alone():
            return function(*args, **kwargs)
        moved = Moved(in_place)
        result = here(function(*moved.there(args), **moved.there(kwargs)))
        if in_place:
            moved.back()
        return result

    return called


class Moved:
    """The arrays of one call that went to the device: each once, however often it is an argument."""

    def __init__(self, in_place: bool) -> None:
        self.in_place = in_place
        self.pairs: dict[int, tuple[np.ndarray, DeviceArray]] = {}

    def there(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.there(part) for name, part in value.items()}
        if type(value) in (tuple, list):
            return type(value)(self.there(part) for part in value)
        if not (isinstance(value, np.ndarray) and value.dtype == np.float32 and 0 < value.ndim <= 5):
            return value
        if self.in_place and not (value.flags.c_contiguous and value.flags.writeable):
            return value  # refused as it is
        if id(value) not in self.pairs:
            self.pairs[id(value)] = value, _native.to_device(value, DEVICE)
        return self.pairs[id(value)][1]

    def back(self) -> None:
        for array, moved in self.pairs.values():
            array[...] = moved.numpy()


def here(value: Any) -> Any:
    """The same on the host."""
    if isinstance(value, DeviceArray):
        return value.numpy()
    if isinstance(value, dict):
        return {name: here(part) for name, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(here(part) for part in value)
    return value


class Mirror:
    """A flat buffer of the device as a test sees it."""

    def __init__(self, there: DeviceArray) -> None:
        self.there, self.here = there, there.numpy()
        self.seen = self.here.copy()

    def push(self) -> None:
        if self.here.tobytes() != self.seen.tobytes():
            self.there.copy_from(self.here)
            self.seen[...] = self.here

    def pull(self) -> None:
        self.seen[...] = self.here[...] = self.there.numpy()


mirrors: weakref.WeakKeyDictionary[Any, dict[str, Mirror]] = weakref.WeakKeyDictionary()


def mirrored(function: Any) -> Any:
    """Views of a flat buffer are views of its mirror."""
    name = "params" if "parameters" in function.__name__ else "grads"

    @functools.wraps(function)
    def viewed(self: Any) -> Any:
        owner = getattr(self, "native", None) or self._native
        if left_alone() or owner.device == "cpu":
            return function(self)
        of = mirrors.setdefault(owner, {})
        if name not in of:
            of[name] = Mirror(getattr(owner, name))
        else:
            of[name].push()
            of[name].pull()
        if function.__name__.startswith("flat"):
            return of[name].here
        named = device.views(owner.layout(), of[name].here)
        suffix = getattr(self, "_suffix", "")
        return {key.removesuffix(suffix): view for key, view in named.items()}

    return viewed


def pushed(method: Any) -> Any:
    """A call that hands the model on, whose parameters are those of its mirrors by then."""

    @functools.wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        for mirror in mirrors.get(self.native, {}).values():
            mirror.push()
        return method(self, *args, **kwargs)

    return called


def in_step(method: Any) -> Any:
    """A native call between whose beginning and end nobody looks at the mirrors of its model."""

    @functools.wraps(method)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        of = mirrors.get(self, {})
        for mirror in of.values():
            mirror.push()
        try:
            return method(self, *args, **kwargs)
        finally:
            for mirror in of.values():
                mirror.pull()

    return called

"""Arrays on a device: there and back, other libraries' arrays, every op on them, and what is refused."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import assert_close, rnn_weights, values
from seq2seq_fast import (
    Batch,
    DeviceArray,
    Seq2Seq,
    Seq2SeqConfig,
    _native,
    device,
    nn,
    ops,
    optim,
    to_device,
)

DTYPES = [np.float32, np.int32, np.int64, np.uint8]


@pytest.fixture
def cuda() -> str:
    """The name of a device, a GPU or an emulated one."""
    if not _native.cuda_status()["devices"]:
        pytest.skip(f"There is no device: {_native.cuda_status()['error']}.")
    return "cuda:0"


class DLPackOnly:
    """An array of another library that speaks DLPack."""

    def __init__(self, array: DeviceArray) -> None:
        self.array = array

    def __dlpack__(self, stream: Any = None, **protocol: Any) -> Any:
        return self.array.__dlpack__(stream=stream, **protocol)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class InterfaceOnly:
    """An array of another library that has __cuda_array_interface__."""

    def __init__(self, array: DeviceArray, **changes: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | changes


def pointer(array: DeviceArray) -> int:
    return int(array.__cuda_array_interface__["data"][0])


# ---- there and back


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_there_and_back(cuda: str, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.arange(200, 200 + int(np.prod(shape))).astype(dtype).reshape(shape)
    there = to_device(array, cuda)
    assert isinstance(there, DeviceArray)
    assert (there.shape, there.ndim, there.size) == (shape, len(shape), array.size)
    assert (there.dtype, there.device) == (array.dtype, cuda)
    back = there.numpy()
    assert back.dtype == dtype and back.flags.writeable
    np.testing.assert_array_equal(back, array)
    assert repr(there) == f"DeviceArray(shape={list(shape)}, dtype={array.dtype}, device=cuda:0)"
    if shape:
        assert len(there) == shape[0]
    else:
        with pytest.raises(TypeError):
            len(there)


def test_copies_and_the_same_array(cuda: str) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = to_device(array.T)  # strides are made contiguous
    array[...] = 0
    np.testing.assert_array_equal(there.numpy(), [[0, 3], [1, 4], [2, 5]])
    assert pointer(to_device(there, "cuda")) == pointer(there)
    assert isinstance(to_device(there, "cpu"), np.ndarray)


def test_numpy_does_not_copy_silently(cuda: str) -> None:
    there: Any = to_device(np.ones(3, np.float32))
    for read in (np.asarray, np.array, lambda a: np.add(a, 1), lambda a: np.ones(3) + a, np.isfinite):
        with pytest.raises(TypeError, match=r"on cuda:0.*\.numpy\(\)"):
            read(there)


def test_reshape_and_view(cuda: str) -> None:
    array = np.arange(24, dtype=np.float32)
    there = to_device(array)
    for shape in ((2, 3, 4), (24, 1), (2, -1), (-1,)):
        for reshaped in (there.reshape(*shape), there.reshape(shape)):
            np.testing.assert_array_equal(reshaped.numpy(), array.reshape(shape))
    part = there.reshape(4, 6).view(5, (2, 3))
    np.testing.assert_array_equal(part.numpy(), array[5:11].reshape(2, 3))
    part.copy_from(np.zeros((2, 3), np.float32))  # the same memory
    assert there.numpy()[5:11].tolist() == [0] * 6 and there.numpy()[[4, 11]].tolist() == [4, 11]
    part.copy_from(to_device(np.ones((2, 3), np.float32)))
    assert there.numpy()[5:11].tolist() == [1] * 6
    for shape in ((5, 5), (-1, 7), (2, 2, 2, 2, 2, 2)):
        with pytest.raises(ValueError, match=r"\["):
            there.reshape(shape)
    for offset, shape in ((-1, (2,)), (20, (5,)), (0, (5, 5)), (2**62, (2,)), (0, (-1,))):
        with pytest.raises(ValueError, match="a part of the 24 elements"):
            there.view(offset, shape)
    with pytest.raises(ValueError, match="Cannot copy shape"):
        part.copy_from(np.zeros(5, np.float32))
    with pytest.raises(TypeError, match="float32"):
        part.copy_from(np.zeros(6))


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros(3, np.float16), np.zeros(3, bool), [1.0], None, "x"])
def test_what_does_not_go_to_a_device(cuda: str, array: Any) -> None:
    with pytest.raises(TypeError, match=r"^\[to_device\] Expected array "):
        to_device(array, cuda)


def test_more_memory_than_there_is(cuda: str) -> None:
    for _ in range(2):  # and the device works on
        with pytest.raises(MemoryError, match=f"device 0 has no room for {2**46} more bytes"):
            _native.zeros((2**44,), cuda)
        assert to_device(np.ones(3, np.float32)).numpy().tolist() == [1, 1, 1]
    with pytest.raises(MemoryError):
        _native.zeros((2**40, 2**40), cuda)


# ---- other libraries' arrays


@pytest.mark.parametrize("other", [DLPackOnly, InterfaceOnly])
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_libraries_arrays(cuda: str, other: Callable[[DeviceArray], Any], dtype: type) -> None:
    array = np.arange(60, 72, dtype=dtype).reshape(3, 4)
    there = to_device(array)
    taken = to_device(other(there))
    assert isinstance(taken, DeviceArray) and pointer(taken) == pointer(there)
    assert (taken.shape, taken.dtype, taken.device) == ((3, 4), there.dtype, cuda)
    del there  # the memory stays as long as anyone has it
    gc.collect()
    to_device(np.zeros((3, 4), dtype))
    np.testing.assert_array_equal(taken.numpy(), array)


@pytest.mark.parametrize("other", [DLPackOnly, InterfaceOnly])
def test_ops_take_them(cuda: str, other: Callable[[DeviceArray], Any]) -> None:
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    there = to_device(x)
    y = ops.softmax(other(there))  # type: ignore[type-var]
    assert isinstance(y, DeviceArray)
    assert_close(y.numpy(), ops.softmax(x))
    ops.scale_(other(there.reshape(12)), 2.0)  # type: ignore[type-var]
    np.testing.assert_array_equal(there.numpy(), 2 * x)
    ids = to_device(np.array([2, 0], np.int64))
    rows = ops.embedding(other(ids), other(there))  # type: ignore[type-var]
    np.testing.assert_array_equal(rows.numpy(), 2 * x[[2, 0]])


def test_what_other_libraries_may_have_wrong(cuda: str) -> None:
    there = to_device(np.zeros((3, 4), np.float32))
    assert to_device(InterfaceOnly(there, strides=(16, 4))).shape == (3, 4)
    assert to_device(InterfaceOnly(there, stream=1)).shape == (3, 4)
    for error, changes, message in [
        (ValueError, {"strides": (4, 12)}, "contiguous"),
        (ValueError, {"strides": (32, 4)}, "contiguous"),
        (TypeError, {"typestr": "<f8"}, "float32, int32, int64 or uint8, got <f8"),
        (TypeError, {"typestr": "<f2"}, "got <f2"),
        (ValueError, {"shape": (1, 1, 1, 1, 1, 1)}, "at most 5 dimensions"),
        (ValueError, {"data": (np.zeros(12).ctypes.data, False)}, "in the memory of a CUDA device"),
    ]:
        with pytest.raises(error, match=r"^\[softmax\] Expected x .*" + message):
            ops.softmax(InterfaceOnly(there, **changes))  # type: ignore[type-var]


def test_dlpack_goes_first(cuda: str) -> None:
    """Its producer orders the streams; PyTorch's __cuda_array_interface__ has no stream to order."""

    asked = []

    class Both(DLPackOnly):
        def __dlpack__(self, stream: Any = None, **protocol: Any) -> Any:
            asked.append(stream)
            return super().__dlpack__(stream=stream, **protocol)

        @property
        def __cuda_array_interface__(self) -> Any:
            pytest.fail("the other protocol was asked")

    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    y = ops.softmax(Both(to_device(x)))  # type: ignore[type-var]
    assert isinstance(y, DeviceArray)
    assert_close(y.numpy(), ops.softmax(x))
    assert asked == [1], "our stream is the legacy default one"


def test_a_capsule_nobody_takes(cuda: str) -> None:
    there = to_device(np.arange(3, dtype=np.float32))
    for stream in (None, 1, -1):
        capsule = there.__dlpack__(stream=stream)
        assert "dltensor" in repr(capsule)
        del capsule
    assert there.__dlpack_device__() == (2, 0)
    assert there.numpy().tolist() == [0, 1, 2]


def test_cpu_tensors_of_pytorch(torch: Any) -> None:
    """They are viewed as numpy arrays, and what comes out is numpy's."""
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    t = torch.from_numpy(x.copy())
    on_cpu = nn.LSTM(4, 5, device="cpu")
    y, (h, _) = on_cpu(t)  # type: ignore[type-var]
    expected, (expected_h, _) = on_cpu(x)
    assert isinstance(y, np.ndarray)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(h, expected_h)
    np.testing.assert_array_equal(ops.softmax(t), ops.softmax(x))
    np.testing.assert_array_equal(ops.linear(t, t[0]), ops.linear(x, x[0]))
    ids = torch.tensor([[1, 0]])
    np.testing.assert_array_equal(ops.embedding(ids, t[0]), x[0][[[1, 0]]])
    flat = t.reshape(-1)
    ops.scale_(flat, 2.0)
    np.testing.assert_array_equal(t.numpy(), 2 * x)
    with pytest.raises(TypeError, match=r"\[softmax\] Expected x as an array that numpy can view.*detach"):
        ops.softmax(t.clone().requires_grad_())
    with pytest.raises(TypeError, match=r"\[softmax\] Expected x of dtype float32, got float64"):
        ops.softmax(t.double())
    with pytest.raises(TypeError, match=r"\[softmax\] Expected x as an array that numpy can view"):
        ops.softmax(t.bfloat16())


def test_cuda_tensors_of_pytorch(cuda: str, torch: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("This PyTorch has no CUDA device.")
    x = torch.linspace(-1, 1, 12, device="cuda").reshape(3, 4)
    y = ops.softmax(x)
    assert isinstance(y, DeviceArray)
    back = torch.from_dlpack(y)
    assert back.data_ptr() == pointer(y) and back.device.type == "cuda"
    torch.testing.assert_close(back, torch.softmax(x, 1))
    torch.testing.assert_close(torch.as_tensor(y, device="cuda"), back)
    assert pointer(to_device(x)) == x.data_ptr()
    ops.scale_(x.reshape(-1), 2.0)
    torch.testing.assert_close(torch.softmax(x / 2, 1), back)
    with pytest.raises(ValueError, match="contiguous"):
        ops.softmax(x.T)


# ---- every op


def arguments() -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments of every op. Floats are float32 arrays, all else is the host's."""
    rng = np.random.default_rng(0)
    x, w, b = values(rng, 3, 5), values(rng, 4, 5), values(rng, 4)
    x3, h, c = values(rng, 2, 3, 5), values(rng, 3, 4), values(rng, 3, 4)
    lstm, gru = rnn_weights(rng, 4, [5], 4)[0], rnn_weights(rng, 3, [5], 4)[0]
    ids = np.array([2, 0, 3])
    keys, memory, lengths = values(rng, 6, 5), values(rng, 6, 2), np.array([4, 2], np.int32)
    example, energy, context = np.array([0, 1, 1], np.int32), values(rng, 5), values(rng, 3, 2)
    p, g, m, v = (values(rng, 40) for _ in range(4))
    v, mask = np.abs(v), np.array([1, 0, 2], np.uint8)
    mlp = {"score": "mlp", "energy": energy}
    places = {"example": np.arange(3), "time": np.zeros(3, np.int32)}
    return {
        "linear": ((x, w, b), {}),
        "linear_backward": ((values(rng, 3, 4), x, w), {}),
        "embedding": ((ids, w), {}),
        "embedding_backward": ((ids, x, 4), {}),
        "softmax": ((x3,), {}),
        "log_softmax": ((x3,), {}),
        "softmax_backward": ((x3, ops.softmax(values(rng, 2, 3, 5))), {}),
        "log_softmax_backward": ((x3, ops.log_softmax(values(rng, 2, 3, 5))), {}),
        "cross_entropy": ((x, ids, -100, 0.1), {}),
        "ctc_loss": ((values(rng, 7, 5), np.array([4, 3]), ids, np.array([2, 1])), {"blank": 4}),
        "attention": ((x, keys, memory, lengths, example), mlp),
        "attention_backward": ((context, x, keys, memory, lengths, example), mlp),
        "lstm": ((x3, [lstm], h[None], c[None], np.array([2, 1, 2])), {}),
        "gru": ((x3, [gru], h[None], np.array([2, 1, 2])), {}),
        "lstm_cell": ((x, h, c, *lstm), {}),
        "lstm_cell_backward": ((h, c, x, c, h, *lstm), {}),
        "gru_cell": ((x, h, *gru), {}),
        "gru_cell_backward": ((h, x, c, *gru, False), {}),
        "dropout": ((x, 0.4, 7), places),
        "layer_norm": ((x3, values(rng, 5), values(rng, 5)), {}),
        "layer_norm_backward": ((values(rng, 2, 3, 5), x3, values(rng, 5)), {}),
        "zoneout": ((x, values(rng, 3, 5), 0.4, 7), places),
        "zoneout_backward": ((x, 0.4, 7), places),
        "sample": ((x, np.array([0.1, 0.5, 0.9], np.float32)), {}),
        "topk": ((x, 3), {}),
        "project_topk": ((x, w, b), {"k": 2}),
        "adam_": ((p, g, m, v, 3), {"mask": mask, "weight_decay": 0.1}),
        "sgd_": ((p, g, m), {"momentum": 0.9, "mask": mask}),
        "adagrad_": ((p, g, v), {"mask": mask}),
        "average_": ((p, g, 0.3), {}),
        "squared_norm": ((p,), {}),
        "scale_": ((p, 0.5), {}),
        "clip_grad_norm_": ((p, 0.5), {}),
        "distribution_loss": ((values(rng, 3, 4), values(rng, 3, 2)), {"offset": values(rng, 3, 2)}),
        "distribution_parameters": ((values(rng, 3, 4), 2), {"offset": values(rng, 3, 2)}),
        "distribution_sample": (
            (values(rng, 3, 4), 2),
            {"example": np.arange(3), "path": np.arange(3, dtype=np.int32)},
        ),
    }


def moved(value: Any, where: str, only: list[int] | None = None) -> Any:
    """The same with float32 arrays on a device, or only those of these numbers, counted from 0."""
    count = iter(range(1000))

    def move(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: move(part) for name, part in value.items()}
        if type(value) in (tuple, list):
            return type(value)(move(part) for part in value)
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            return value
        return to_device(value, where) if only is None or next(count) in only else value

    return move(value)


def test_every_op_has_arguments_here() -> None:
    assert set(arguments()) == set(ops.__all__) - {"philox"}


@pytest.mark.parametrize("name", sorted(arguments()))
def test_ops_run_where_their_arrays_lie(cuda: str, name: str) -> None:
    args, options = arguments()[name]
    there, there_options = moved((args, options), cuda)
    found = getattr(ops, name)(*there, **there_options)
    expected = getattr(ops, name)(*args, **options)
    for result, wanted in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True):
        if isinstance(wanted, np.ndarray):
            assert isinstance(result, DeviceArray) and result.device == cuda
            assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
            assert_close(result.numpy(), wanted)
        elif wanted is None:
            assert result is None
        else:
            assert result == pytest.approx(wanted)
    if name.endswith("_"):
        for array, want in zip(there, args, strict=True):
            if isinstance(want, np.ndarray):
                assert_close(array.numpy(), want, "in place")


@pytest.mark.parametrize("name", sorted(arguments()))
def test_devices_do_not_mix(cuda: str, name: str) -> None:
    args, options = arguments()[name]
    count = sum(isinstance(a, DeviceArray) for a in flat(moved((args, options), cuda)))
    function = getattr(ops, name)
    function = getattr(
        function, "__wrapped__", function
    )  # without what on_device.py does under --device cuda
    for only in [[i] for i in range(count)] if count > 1 else []:
        mixed, mixed_options = moved((args, options), cuda, only)
        with pytest.raises(ValueError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
            getattr(ops, name)(*mixed, **mixed_options)


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return flat(list(value.values()))
    return [x for part in value for x in flat(part)] if type(value) in (tuple, list) else [value]


def test_ids_may_lie_on_the_device(cuda: str) -> None:
    args, options = arguments()["attention"]
    expected = ops.attention(*args, **options)
    lengths, example = (to_device(a) for a in args[3:])
    there = moved((args[:3], options), cuda)
    found = ops.attention(*there[0], lengths, example, **there[1])
    assert_close([a.numpy() for a in found], expected)
    mask = to_device(np.ones(3, np.uint8))
    param, grad = (to_device(np.ones(40, np.float32)) for _ in range(2))
    ops.sgd_(param, grad, lr=1.0, weight_decay=0.5, mask=mask)
    np.testing.assert_allclose(param.numpy(), -0.5)
    with pytest.raises(TypeError, match="mask"):
        ops.sgd_(param, grad, mask=to_device(np.ones(3, np.int32)))
    with pytest.raises(ValueError, match="mask of 3 bytes"):
        ops.sgd_(param, grad, mask=to_device(np.ones(4, np.uint8)))


# ---- layers, models, optimisers


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers(cuda: str, rng: np.random.Generator, kind: Any, batch_first: bool) -> None:
    options = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first, "seed": 3}
    here, there = kind(5, 6, **options, device="cpu"), kind(5, 6, **options, device=cuda)
    assert (here.device, there.device) == ("cpu", "cuda:0")
    x, dy, lengths = values(rng, 4, 3, 5), values(rng, 4, 3, 12), np.array([1, 3, 2][: 3 + batch_first])
    if batch_first:
        lengths = np.array([1, 3, 2, 3])
    for given in ((), (None, lengths)):
        y, _ = here(x, *given)
        found, _ = there(to_device(x), *given)
        assert isinstance(found, DeviceArray)
        assert_close(found.numpy(), y)
    here.train(), there.train()
    here(x, None, lengths), there(to_device(x), None, lengths)
    dx, _ = here.backward(dy)
    found, _ = there.backward(to_device(dy))
    assert_close(found.numpy(), dx)
    gradients = there.gradients()
    assert all(isinstance(g, DeviceArray) for g in gradients.values())
    assert_close({name: g.numpy() for name, g in gradients.items()}, here.gradients())
    there.load_state_dict(there.parameters())
    assert_close(there.state_dict(), here.state_dict())


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell])
def test_cells(cuda: str, rng: np.random.Generator, kind: Any) -> None:
    here, there = kind(5, 6, device="cpu"), kind(5, 6, device="cuda")
    x = values(rng, 4, 5)
    assert_close(
        [a.numpy() for a in flat(there(to_device(x)))],
        [a for a in flat(here(x)) if isinstance(a, np.ndarray)],
    )


def test_a_layer_takes_arrays_of_its_device(cuda: str) -> None:
    x = np.zeros((2, 3, 5), np.float32)
    with pytest.raises(ValueError, match=r"\[lstm\] Expected x on cpu, where the layer is, got it on cuda:0"):
        nn.LSTM(5, 6, device="cpu")(to_device(x))
    layer = nn.LSTM(5, 6, device=cuda)
    with pytest.raises(ValueError, match=r"\[lstm\] Expected x on cuda:0, where the layer is, got it on cpu"):
        layer(x)
    h = np.zeros((1, 3, 6), np.float32)
    with pytest.raises(ValueError, match=r"\[lstm\] Expected h0 on cuda:0, got it on cpu"):
        layer(to_device(x), (h, to_device(h)))


CONFIG = Seq2SeqConfig(
    source_vocab_size=11,
    target_vocab_size=12,
    source_embedding_dim=5,
    target_embedding_dim=6,
    encoder_hidden=7,
    decoder_hidden=8,
)


def test_a_model_moves(cuda: str, tmp_path: Path) -> None:
    here = Seq2Seq(CONFIG, seed=4, device="cpu")
    there = here.to("cuda")
    assert (here.device, there.device) == ("cpu", cuda)
    assert there.to("cuda:0") is there and here.to("cpu") is here
    made = Seq2Seq(CONFIG, seed=4, device="cuda")
    for model in (there, made, there.to("cpu")):
        for name, value in here.native.state().items():
            np.testing.assert_array_equal(model.native.state()[name], value)
    assert isinstance(there.native.params, DeviceArray)
    there.save(tmp_path / "there")
    here.save(tmp_path / "here")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("there", "here")]
    assert weights[0] == weights[1]
    loaded = Seq2Seq.load(tmp_path / "here", device="cuda")
    assert loaded.device == cuda
    source, lengths = np.array([4, 5, 6, 7], np.int32), np.array([3, 1], np.int32)
    for a, b in zip(loaded.generate(source, lengths), here.generate(source, lengths), strict=True):
        assert [h.tokens for h in a] == [h.tokens for h in b]


def test_a_change_of_the_weights_is_noticed(cuda: str) -> None:
    """By whatever means it came: weights are packed once, and again when they change."""
    here, there = (Seq2Seq(CONFIG, seed=4, device=place) for place in ("cpu", "cuda"))
    batch = Batch(
        source=np.array([4, 5, 6, 7], np.int32),
        source_lengths=np.array([3, 1], np.int32),
        target=np.array([4, 2, 5, 6, 2], np.int32),
        target_lengths=np.array([2, 3], np.int32),
        example_ids=np.array([0, 1]),
    )
    seen: list[bytes] = []

    def both_changed() -> None:
        for _ in range(2):
            score = there.score(batch)
            assert_close(score, here.score(batch))
        assert score.tobytes() not in seen
        seen.append(score.tobytes())

    both_changed()
    params, name = there.flat_parameters, "decoder.output.weight"
    for flat_buffer in (here.flat_parameters, params):
        ops.scale_(flat_buffer, 0.5)
    both_changed()
    here.parameters()[name][...] *= 3
    there.parameters()[name].copy_from(here.parameters()[name])
    both_changed()
    for model in (here, there):
        model.forward_backward(batch)
        optim.SGD(lr=0.5).step(model.flat_parameters, model.flat_gradients)
    both_changed()
    shared = params.__dlpack__()  # whoever has it writes what nobody here sees
    here.flat_parameters[...] *= 0.5
    if _native.cuda_build()["emulated"] and not os.environ.get("S2S_SIMT_STRICT"):
        ctypes.memmove(pointer(params), here.flat_parameters.ctypes.data, 4 * params.size)
        both_changed()
    del shared


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW, optim.SGD, optim.Adagrad])
def test_an_optimisers_state_lies_with_the_parameters(cuda: str, kind: Any) -> None:
    options: dict[str, Any] = {"momentum": 0.9} if kind is optim.SGD else {}
    if kind is optim.Adagrad:
        options = {"initial_accumulator_value": 0.5}
    start, grad = np.linspace(-1, 1, 40, dtype=np.float32), np.linspace(2, 3, 40, dtype=np.float32)

    def run(places: list[str]) -> tuple[Any, Any]:
        """A step in each place, parameters and optimiser carried along."""
        optimizer = kind(lr=0.1, **options)
        param: Any = start.copy()
        for place in places:
            param = _native.to_device(param, place)
            optimizer.step(param, _native.to_device(grad, place))
            assert all(device.device_of(s) == place for s in optimizer._state.values())
            state = optimizer.state_dict()
            assert all(isinstance(s, np.ndarray) for s in state.values())
            optimizer.load_state_dict({name: s.copy() for name, s in state.items()})
        return device.to_host(param), state

    for places in (["cuda:0"] * 3, ["cpu", "cuda:0", "cpu"]):
        assert_close(run(places), run(["cpu"] * 3))


# ---- where there is no CUDA


def test_an_absent_device_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cuda_status", lambda: "no driver: none of NVIDIA's is installed")
    assert device.resolve_device("Translator", "auto", auto=True) == "cpu"
    for make in (
        lambda: to_device(np.zeros(3, np.float32)),
        lambda: nn.LSTM(3, 4, device="cuda"),
        lambda: nn.GRUCell(3, 4, device="cuda:1"),
        lambda: Seq2Seq(CONFIG, device="cuda"),
        lambda: Seq2Seq(CONFIG, device="cpu").to("cuda"),
    ):
        with pytest.raises(
            RuntimeError, match=r"\[\w+\] There is no CUDA to use: no driver: none of NVIDIA's"
        ):
            make()


def test_auto_prefers_a_device_that_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    for status, expected in [("ready: cuda:0 H100", "cuda:0"), ("emulated: a build for tests", "cpu")]:
        monkeypatch.setattr(device, "cuda_status", lambda status=status: status)
        monkeypatch.setattr(device._native, "cuda_status", lambda: {"devices": ["H100"]})
        monkeypatch.setattr(device, "offer_cublas", lambda: None)
        assert device.resolve_device("op", "auto", auto=True) == expected


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", "cuda:1000", "", "auto"])
def test_names_of_devices(name: str) -> None:
    for make in (lambda: nn.LSTM(3, 4, device=name), lambda: to_device(np.zeros(3, np.float32), name)):
        with pytest.raises(ValueError, match=r"\[\w+\] Expected device as cpu, cuda or cuda:N, got '"):
            make()
    for wrong in (0, None, b"cuda"):
        with pytest.raises(TypeError, match="Expected device as a string"):
            nn.GRU(3, 4, device=wrong)  # type: ignore[arg-type]


def test_a_device_beyond_the_last(cuda: str) -> None:
    with pytest.raises(RuntimeError, match="There is no device cuda:99: the last is cuda:"):
        nn.LSTM(3, 4, device="cuda:99")

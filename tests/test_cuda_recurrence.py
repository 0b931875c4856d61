"""The recurrences' routes on CUDA: step by step, a grid whose blocks hand states on through memory, clusters.

Each is forced (S2S_CUDA_RECURRENCE) over shapes that reach its branches. float32 and int8 give the bits of
the step-by-step route, which the rest of the suite tests; weights of 16 bits, whose persistent routes round
the states for tensor cores, lie near them and give the same bits by every team.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import bits, ragged, values
from place import Device, size
from seq2seq_fast import nn
from simt import native

# Teams of several blocks, of one, several teams; as the model chooses. Every shape fits the first.
ROUTES = [
    "grid:3x1",
    "grid:1x1",
    "grid:5x2",
    "grid",
    "cluster:1",
    "cluster:2x3",
    "cluster:4",
    "cluster:16",
    "cluster",
]
VARIANTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
    "gru_reset_before": (nn.GRU, {"reset_after": False}),
}
# Sequences, steps, hidden size: one step and row; odd sizes; more sequences than a tile; more rows than
# registers hold and, backward, longer ones; two units to a thread.
SHAPES = [(1, 1, 1), (5, 4, 33), (19, 3, 12), (3, 2, 140), (2, 3, 70)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
variants = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture
def on_cuda(device: Device) -> Device:
    if device.name == "cpu":
        pytest.skip("The routes are the CUDA backend's: pytest --device cuda.")
    return device


def states(rng: np.random.Generator, variant: str, *shape: int) -> list[np.ndarray]:
    return [values(rng, *shape, outliers=False) for _ in range(2 if variant == "lstm" else 1)]


def packed(arrays: list[Any]) -> Any:
    return tuple(arrays) if len(arrays) == 2 else arrays[0]


def flat(y: Any, last: Any) -> list[Any]:
    return [y, *last] if isinstance(last, tuple) else [y, last]


def train(layer: Any, x: Any, initial: list[Any], lengths: Any, cotangents: list[Any]) -> list[Any]:
    outputs = flat(*layer(x, packed(initial), lengths=lengths))
    return outputs + flat(*layer.backward(cotangents[0], packed(cotangents[1:])))


@shapes
@variants
def test_training(
    on_cuda: Device,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    shape: tuple[int, ...],
) -> None:
    """Outputs and gradients of both directions over a ragged batch."""
    batch, steps, hidden = shape
    kind, options = VARIANTS[variant]
    layer = kind(3, hidden, bidirectional=True, **options).train()
    x, lengths, initial = (
        values(rng, steps, batch, 3),
        ragged(rng, batch, steps),
        states(rng, variant, 2, batch, hidden),
    )
    cotangents = [values(rng, steps, batch, 2 * hidden), *states(rng, variant, 2, batch, hidden)]
    found = {}
    for route in ["step", *size(ROUTES, ROUTES if shape == SHAPES[1] else ROUTES[::4])]:
        monkeypatch.setenv("S2S_CUDA_RECURRENCE", route)
        for gradient in layer.gradients().values():
            gradient[...] = 0
        outputs = on_cuda.run(train, layer, x, initial, lengths, cotangents)
        found[route] = bits(outputs), bits({name: np.array(g) for name, g in layer.gradients().items()})
        assert found[route] == found["step"], route


@shapes
@pytest.mark.parametrize("compute_type", ["float32", "float16", "bfloat16", "int8"])
@variants
def test_inference(
    on_cuda: Device,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    compute_type: str,
    shape: tuple[int, ...],
) -> None:
    """Ragged in both directions; all of one length; without initial states."""
    batch, steps, hidden = shape
    kind, options = VARIANTS[variant]
    layer = kind(3, hidden, bidirectional=True, compute_type=compute_type, **options)
    x, initial = values(rng, steps, batch, 3), packed(states(rng, variant, 2, batch, hidden))
    teams = ["grid:3x1", "cluster:2x3", *size(["grid:5x2", "cluster:16"], [])]
    compare_routes(on_cuda, monkeypatch, layer, (x, initial, ragged(rng, batch, steps)), teams, compute_type)
    for arguments in ((x, initial), (x,)):
        compare_routes(on_cuda, monkeypatch, layer, arguments, ["grid:3x1"], compute_type)


def compare_routes(
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    layer: Any,
    arguments: Any,
    routes: list[str],
    compute_type: str,
) -> None:
    """Each route's bits: those of "step", or where its states are rounded those of any team."""
    found = {}
    for route in ["step", *routes]:
        monkeypatch.setenv("S2S_CUDA_RECURRENCE", route)
        found[route] = flat(*device.run(layer, *arguments))
    by_team = found[routes[0]]
    if compute_type in ("float16", "bfloat16"):
        for a, b in zip(found["step"], by_team, strict=True):
            assert np.abs(a - b).max() < 0.03
    else:
        assert bits(by_team) == bits(found["step"])
    allowed = bits(by_team), bits(found["step"])  # what does not fit goes step by step
    for route in routes:
        assert bits(found[route]) in allowed, route


@pytest.mark.parametrize("compute_type", ["float32", "bfloat16", "int8"])
def test_wide(
    on_cuda: Device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, compute_type: str
) -> None:
    """Rows beyond the 512 elements that registers hold."""
    layer = nn.LSTM(2, 521, compute_type=compute_type)
    arguments = values(rng, 2, 2, 2), packed(states(rng, "lstm", 1, 2, 521))
    compare_routes(on_cuda, monkeypatch, layer, arguments, ["grid:11x1", "cluster:16"], compute_type)


@variants
def test_without_room(
    on_cuda: Device, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """What does not fit, or is no route, is left to the others."""
    kind, options = VARIANTS[variant]
    layer = kind(3, 40, **options)
    x = values(rng, 3, 2, 3)
    expected = flat(*on_cuda.run(layer, x))
    for route in ("grid:1000x1", "grid:1x3", "cluster:3", "cluster:2x5", "cluster:32", "no route", ""):
        monkeypatch.setenv("S2S_CUDA_RECURRENCE", route)
        assert bits(flat(*on_cuda.run(layer, x))) == bits(expected), route


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recurrences")


@pytest.mark.cpu_only("programs of their own")
def test_under_thread_sanitizer(folder: Path) -> None:
    """Small grids of the kernels of training, which share their routes with the others. A process for each
    route (that of single steps hands nothing over): the sanitizer keeps what it knows of every thread."""
    if why := native.missing("tsan"):
        pytest.skip(f"{why[0].upper()}{why[1:]}.")
    sources = [
        native.HERE / "recurrences.cpp",
        *(native.ROOT / f"csrc/cuda/{name}.cu" for name in ("lstm", "gru")),
    ]
    program = native.build(sources, "tsan", folder, "recurrences", ["-O1", "-DTRAINING_ONLY"])
    for route in ("grid:2x2", "cluster:2x2"):
        done = native.run(program, route, "random:1", S2S_SIMT_MAX_STEPS="30000000")
        assert done.returncode == 0, f"{route}: {done.stdout}{done.stderr}"


PLANS = """
#include <cstdio>
#include "cuda/detail/recurrent_plan.h"
using namespace s2s::cuda;
int main() {
  int rows, places, hidden, bytes;
  while (std::scanf("%d %d %d %d", &rows, &places, &hidden, &bytes) == 4) {
    const int pitch = hidden * bytes, operands = hidden * (bytes == 1 ? 1 : bytes == 2 ? 2 : 4);
    const RecurrentShape s = {rows, places, hidden, 1, bytes, 4ll * pitch,
                              {{4, hidden, pitch, operands, bytes == 4 ? 32 : bytes == 2 ? 128 : 0}}};
    for (const int capability : {80, 90}) {
      const RecurrentPlan plan = plan_recurrence(s, {132, 227 * 1024, capability});
      std::printf("%d %d %d %d ", static_cast<int>(plan.route), plan.blocks, plan.teams, plan.tile);
    }
    std::printf("\\n");
  }
}
"""


@pytest.mark.cpu_only("a program of its own")
def test_the_model(folder: Path) -> None:
    """What is chosen for an LSTM on 132 processors, without and with clusters: an H100's fastest."""
    if why := native.missing("plain"):
        pytest.skip(f"{why[0].upper()}{why[1:]}.")
    source = folder / "plans.cpp"
    source.write_text(PLANS)
    program = native.build([source], "plain", folder, "plans")
    step, grid, cluster = range(3)
    shapes = {  # rows, places, hidden, bytes: the routes without and with clusters
        (1, 1, 512, 4): (step, step),  # decoding: one launch
        (1, 50, 512, 4): (grid, grid),
        (8, 306, 256, 2): (grid, cluster),
        (8, 306, 512, 2): (grid, cluster),
        (64, 50, 256, 2): (grid, cluster),
        (64, 306, 512, 2): (grid, grid),  # too few clusters at once
        (4, 50, 1024, 4): (grid, grid),  # no cluster holds it
        (4, 50, 4096, 4): (step, step),  # nor the device
    }
    text = "\n".join(" ".join(map(str, shape)) for shape in shapes)
    done = native.subprocess.run([str(program)], input=text, capture_output=True, text=True, check=True)
    for (shape, routes), line in zip(shapes.items(), done.stdout.splitlines(), strict=True):
        chosen = list(map(int, line.split()))
        for route, (found, blocks, teams, tile) in zip(routes, (chosen[:4], chosen[4:]), strict=True):
            assert found == route, shape
            assert 1 <= tile <= 8
            assert 1 <= teams <= shape[0]
            assert blocks * teams <= 132 or found == cluster

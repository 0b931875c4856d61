"""A whole training step in float32, ours against PyTorch's with whichever of its Adams is fastest."""

from __future__ import annotations

from .. import training
from ..networks import Size
from ..shapes import Shape
from .cells import TrainingCell
from .place import DEVICE, Place
from .store import Row
from .timing import Contestant, Effort, against, contest

OURS, PEER = "ours", "PyTorch float32"


def run(cell: TrainingCell, place: Place, effort: Effort) -> Row:
    """Raises:
    AssertionError: losses or gradients differ.
    """
    case = training.step(
        Shape.of(Size(cell.vocabulary, cell.hidden), cell.batch, cell.length),
        device=DEVICE,
        torch_device=str(place.torch_device),
        tolerance=1e-3,
    )
    case.check()
    times = contest([Contestant(OURS, case.ours), Contestant(PEER, case.peer)], place, effort)
    return times[OURS].row() | {"peers": {PEER: times[PEER].row() | against(times[OURS], times[PEER])}}

"""The least time of a cell on this machine: bytes by the caches' rates, operations by the processor's peaks.

A cell is a few phases, one after the other; each repeats one pass over its weights. A pass takes at least
the larger of the time to read them (`caches.py`) and the time of its operations, both shared out evenly over
the threads. Operations are the products' (in the compute type) and the gates' and softmax' (in float32).
Nothing is taken for the call itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seq2seq_fast import Seq2SeqConfig

from ..caches import Level, pass_seconds
from ..limits import Weights
from .cells import LayerCell

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
FLOAT = 4
GATES = {"LSTM": 4, "GRU": 3}
# exp by range reduction and a polynomial of degree 5, scaling, and the division of a sigmoid or tanh: 20.
EXP = 20
GATE_OPERATIONS = {"LSTM": 5 * EXP + 4, "GRU": 3 * EXP + 6}  # a unit and step


@dataclass(frozen=True)
class Phase:
    """`passes` times: read `weights` bytes and whatever else, multiply, and do float32 arithmetic."""

    passes: int
    weights: float  # bytes, read in every pass
    moved: float  # bytes that pass through once: inputs and outputs of the pass
    products: float  # operations
    arithmetic: float = 0.0  # operations in float32


@dataclass(frozen=True)
class Machine:
    """What `machine.py` measured, for one compute type."""

    threads: int
    levels: Sequence[Level]  # of one core
    product_rate: float  # operations a second of all threads, in the compute type
    float_rate: float  # the same in float32


@dataclass(frozen=True)
class Limit:
    seconds: float
    bound: str  # what most of it is: compute or memory


def limit(phases: Sequence[Phase], machine: Machine) -> Limit:
    by_bound = {"compute": 0.0, "memory": 0.0}
    for phase in phases:
        compute = phase.products / machine.product_rate + phase.arithmetic / machine.float_rate
        memory = pass_seconds((phase.weights + phase.moved) / machine.threads, machine.levels)
        bound = "compute" if compute >= memory else "memory"
        by_bound[bound] += phase.passes * max(compute, memory)
    return Limit(sum(by_bound.values()), max(by_bound, key=by_bound.__getitem__))


def layer(cell: LayerCell, compute_type: str) -> list[Phase]:
    """One step reads both matrices at once. A sequence multiplies all inputs first, then walks time."""
    matrix = GATES[cell.kind] * cell.hidden * cell.hidden
    size = float(BYTES[compute_type] * matrix)
    row = FLOAT * cell.batch * cell.hidden  # x, h, c or y of one step
    products = 2.0 * matrix * cell.batch
    arithmetic = float(GATE_OPERATIONS[cell.kind] * cell.batch * cell.hidden)
    if cell.time == 1:
        return [Phase(1, 2 * size, 2 * row, 2 * products, arithmetic)]
    return [
        Phase(1, size, cell.time * row, cell.time * products),
        Phase(cell.time, size, row, products, arithmetic),
    ]


def decoding(
    config: Seq2SeqConfig, batch: int, beam: int, source_length: int, length: int, compute_type: str
) -> list[Phase]:
    """One LSTM layer a side, general attention, input feeding. The last tokens' product with the cell's
    weights is a table's row, whoever cares to make the table, so it is not counted."""
    w, size = Weights.of(config), BYTES[compute_type]
    tokens = batch * source_length
    directions = 2 if config.bidirectional else 1
    encoder_gates = GATE_OPERATIONS["LSTM"] * directions * config.encoder_hidden
    memory = FLOAT * float(w.attention * tokens)  # keys and memory of all sources
    step = w.cell_recurrent + w.combine + w.output

    def steps(passes: int, rows: int) -> Phase:
        per_row = GATE_OPERATIONS["LSTM"] * config.decoder_hidden + EXP * (
            config.target_vocab_size + source_length + config.decoder_hidden
        )
        products = 2.0 * rows * step  # attention's are in float32
        attention = 2.0 * rows * source_length * w.attention
        return Phase(passes, float(size * step), memory, products, attention + rows * per_row)

    return [
        Phase(1, float(size * w.encoder_input), 0.0, 2.0 * tokens * w.encoder_input),
        Phase(
            source_length,
            float(size * w.encoder_recurrent),
            0.0,
            2.0 * batch * w.encoder_recurrent,
            float(batch * encoder_gates),
        ),
        Phase(1, float(size * w.keys), 0.0, 2.0 * tokens * w.keys),
        steps(1, batch),  # only one hypothesis a source at first
        steps(length - 1, batch * beam),
    ]

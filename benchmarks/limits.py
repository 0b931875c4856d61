"""The least that a piece of work must do, whoever does it: operations of its products, bytes it must move.

limit = max(operations / measured peak rate, bytes / measured bandwidth at the same working set). Only
matrix products count as operations (a multiplication and an addition for each weight and row), so
activations, softmax and the optimiser's arithmetic are free here. A weight counts once for each time that
it must be read again: once a call where all time steps share one product, once a time step where the
recurrence forbids that. Nobody runs at the limit; it says how much room is left. Inference has limits of its
own, level by level of the caches (`inference/limits.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from seq2seq_fast import Seq2SeqConfig

from . import machine

FLOAT = 4  # bytes
GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Work:
    operations: float
    bytes: float
    working_set: float  # bytes that are read again and again
    compute_type: str = "float32"  # of the operations

    def limit(self, threads: int) -> tuple[float, str]:
        """Seconds, and what bounds them: "compute" or "memory"."""
        compute = self.operations / machine.peak_flops(threads, self.compute_type)
        memory = self.bytes / machine.bandwidth(self.working_set, threads)
        return max((compute, "compute"), (memory, "memory"))


def layer(gates: int, hidden: int, batch: int, time: int, *, backward: bool) -> Work:
    """A recurrent layer whose input is as wide as its state."""
    matrix = gates * hidden * hidden  # weights of the input's product, and as many of the state's
    products = 2 * matrix * batch * time
    read = matrix * (1 + time)
    activations = 2 * batch * time * hidden  # x and y
    if backward:
        products *= 3  # the gradients of the operand and of the weights, each as large as forward
        read += matrix * (1 + time) + 2 * matrix  # the weights again, and their gradients written
        activations += 2 * batch * time * hidden * (1 + gates)  # dx and dy; the gates written and read
    return Work(2.0 * products, FLOAT * float(read + activations), FLOAT * 2.0 * matrix)


@dataclass(frozen=True)
class Weights:
    """How many weights each product of the network has: any encoder, one layer of decoder, general or mlp
    attention, input feeding."""

    encoder_input: int
    encoder_recurrent: int
    keys: int
    query: int  # mlp attention's product with the decoder's state
    cell_input: int
    cell_recurrent: int  # of the state and of the attentional vector that is fed back
    combine: int
    output: int
    attention: int  # not weights: numbers of a source row's key and memory that a step multiplies by

    @classmethod
    def of(cls, config: Seq2SeqConfig) -> Weights:
        directions = 2 if config.bidirectional else 1
        memory, hidden = directions * config.encoder_hidden, config.decoder_hidden
        encoder = directions * GATES[config.encoder_cell] * config.encoder_hidden
        decoder = GATES[config.decoder_cell] * hidden
        mlp = config.attention_score == "mlp"
        keys = (mlp and config.attention_dim) or hidden
        width = config.target_embedding_dim if config.tie_output else hidden
        return cls(
            encoder_input=encoder * (config.source_embedding_dim + (config.encoder_layers - 1) * memory),
            encoder_recurrent=encoder * config.encoder_layers * config.encoder_hidden,
            keys=keys * memory,
            query=keys * hidden if mlp else 0,
            cell_input=decoder * config.target_embedding_dim,
            cell_recurrent=decoder * (hidden + width),
            combine=width * (hidden + memory),
            output=width * config.target_vocab_size,
            attention=keys + memory,
        )

    def per_source_token(self) -> int:
        return self.encoder_input + self.encoder_recurrent + self.keys

    def per_target_token(self, source_length: int) -> int:
        step = self.cell_input + self.cell_recurrent + self.query + self.combine + self.output
        return step + source_length * self.attention


def training_step(
    config: Seq2SeqConfig,
    parameters: int,
    batch: int,
    source_length: int,
    target_length: int,
    repeated: tuple[int, int] = (0, 0),
) -> Work:
    """Forward, backward, clipping and Adam on `batch` pairs of so many tokens. Of the sources' and of the
    targets' so many are in the batch before: a token's product with the input's weights is needed once."""
    w = Weights.of(config)
    products = batch * source_length * w.per_source_token() - repeated[0] * w.encoder_input
    products += batch * target_length * w.per_target_token(source_length) - repeated[1] * w.cell_input
    recurrent = source_length * w.encoder_recurrent
    recurrent += target_length * (w.cell_recurrent + w.query + w.combine)
    once = w.encoder_input + w.keys + w.cell_input + w.output
    read = 2 * (recurrent + once)  # forward and backward
    adam = 7 * parameters  # weight, gradient and two moments read; weight and moments written
    logits = 3 * batch * target_length * config.target_vocab_size  # written, read, their gradient written
    return Work(3 * 2.0 * products, FLOAT * float(read + adam + logits), FLOAT * 4.0 * parameters)

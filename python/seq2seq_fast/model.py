"""Seq2SeqConfig, Seq2Seq, Encoder, Decoder: the recurrent encoder-decoder, its loss, gradients and search."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seq2seq_fast import _native
from seq2seq_fast._native import Hypothesis
from seq2seq_fast.arguments import array, flag, integer, number
from seq2seq_fast.device import Ids, resolve_device, to_host
from seq2seq_fast.flat_parameters import FlatParameters
from seq2seq_fast.search import DEFAULTS, given, native_options

if TYPE_CHECKING:
    from seq2seq_fast.data import Batch
    from seq2seq_fast.streaming import EncoderStream

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Seq2SeqConfig:
    """What a network is made of. Values are checked when a network is built.

    The encoder reads tokens (source_vocab_size) or feature vectors (source_features). Its states, M =
    encoder_hidden x directions wide, are the memory; without recurrent layers (encoder_layers 0) the memory
    is tanh(W x + b) of each token's embedding or each vector, M = encoder_hidden wide. At each step the
    decoder's input is the last token's embedding, with input feeding beside the last attentional vector; h is
    its top layer's output, c the context, a = tanh(W [h; c] + b), and the logits are W_o a + b_o.
    """

    target_vocab_size: int
    source_vocab_size: int = 0
    """0: the source is feature vectors [S, source_features]."""
    source_features: int = 0
    source_embedding_dim: int = 256
    target_embedding_dim: int = 256
    encoder_cell: str = "lstm"
    """lstm or gru."""
    decoder_cell: str = "lstm"
    encoder_layers: int = 1
    """0: a projection, for sources without an order, the cells of an image for example; the memory's mean
    stands for the last state (Xu et al. 2015, "Show, Attend and Tell")."""
    decoder_layers: int = 1
    encoder_hidden: int = 256
    """Of each direction."""
    decoder_hidden: int = 256
    bidirectional: bool = True
    encoder_pyramid: str = ""
    """A number for each layer, "1,2" for example: so many consecutive states of the layer below (for the
    first: inputs) are one input of it (Chan et al. 2016), so that the memory is shorter than the source. At
    the end of a sequence zeros stand for what is missing. "": all 1."""
    pyramid_skips: bool = False
    """Of the states that encoder_pyramid counts together only the first is read (ESPnet's subsampling)."""
    conv_layers: int = 0
    """Layers of convolutions over time before the recurrent ones, each with conv_channels outputs, of
    conv_width steps from conv_stride to conv_stride, and a tanh; what is outside a sequence is zero. weight
    [conv_channels, conv_width x inputs], step by step."""
    conv_channels: int = 64
    conv_width: int = 3
    conv_stride: int = 2
    context: str = "attention"
    """attention; last: the encoder's last state; mean: the mean of its states."""
    attention_score: str = "general"
    """dot, general (Luong et al. 2015) or mlp (Bahdanau et al. 2015)."""
    attention_dim: int = 0
    """mlp only; 0: decoder_hidden."""
    input_feeding: bool = True
    bridge: str = "dense"
    """From the encoder's last states to the decoder's first: copy, dense (a tanh layer) or zero."""
    copy_attention: bool = False
    """The output may copy tokens of the source, also such as the target vocabulary does not have: P(y) =
    (1 - c) softmax(logits)_y + c (attention on the places that hold y), c = sigmoid(v . a + b)
    (pointer-generator, See et al. 2017; the gate as OpenNMT computes it). Sources then come with copy ids
    (`copying`), and outputs are copy ids. Label smoothing spreads over the vocabulary's softmax."""
    coverage: bool = False
    """mlp attention also sees how much it has attended to each place so far: score = energy . tanh(query +
    key + w (sum of the place's weights)) (See et al. 2017)."""
    coverage_loss: float = 0.0
    """With coverage: so many times the sum over the places of min(weight, weights so far) is added to each
    token's loss, against repetition (See et al. 2017: 1)."""
    location_filters: int = 0
    """mlp attention also sees, through so many filters, how much the places around each have been attended
    to: score = energy . tanh(query + key + U (F * weights)) (Chorowski et al. 2015); 0: it does not."""
    location_width: int = 31
    """Places that a filter spans, odd, that itself in the middle."""
    location_cumulative: bool = True
    """The filters see the sum of the weights so far; otherwise those of the step before."""
    tie_output: bool = False
    """The output projection is the target embedding; a is then target_embedding_dim wide, else
    decoder_hidden."""
    share_embeddings: bool = False
    """Source and target have one embedding, decoder.embedding.weight, and so one vocabulary; with tie_output
    it is the output projection, too (Press & Wolf 2017)."""
    residual: bool = False
    """The input of every recurrent layer but the first is added to its output (Wu et al. 2016), as it was
    before dropout: TensorFlow's nmt and NVIDIA's GNMT."""
    layer_norm: bool = False
    """What leaves a recurrent layer, after that sum and both directions together, is normalised (Ba et al.
    2016; torch.nn.LayerNorm). States on their way to the next step are not."""
    reset_after: bool = True
    """GRU: the reset gate after the recurrent product (PyTorch, cuDNN) or before it (Keras' default,
    ONNX)."""
    ctc_weight: float = 0.0
    """Loss = (1 - ctc_weight) times the decoder's + ctc_weight times that of connectionist temporal
    classification on the memory, by an output layer of its own over the target vocabulary and a blank
    (Watanabe et al. 2017). Targets count without <eos>; one that does not fit into its memory counts
    nothing."""
    dropout: float = 0.0
    """On embeddings, between layers and on a; a rate of their own, where given, goes before it."""
    embedding_dropout: float | None = None
    output_dropout: float | None = None
    """On a."""
    variational_dropout: bool = False
    """A sequence's units are dropped at all of its steps or at none (Gal & Ghahramani 2016, without their
    dropout of the recurrent connections)."""
    word_dropout: float = 0.0
    """In training each token of the source, and each that the decoder reads but <bos>, is <unk> with this
    probability (Bowman et al. 2016). Tokens that the decoder draws itself are spared."""
    zoneout_hidden: float = 0.0
    """In training each unit of a recurrent state h keeps its value of the step before with this probability;
    otherwise h is the mean of the two, so weighted (Krueger et al. 2017)."""
    zoneout_cell: float = 0.0
    """The same for c of LSTMs."""
    source_unk_id: int = 3
    """<unk> of the source vocabulary, for word_dropout; unk_id is the target's."""
    bos_id: int = 1
    eos_id: int = 2
    unk_id: int = 3
    pad_id: int = 0

    @property
    def reduction(self) -> int:
        """Steps of the source for which one place of the memory stands."""
        joined = [int(number) for number in self.encoder_pyramid.split(",") if number]
        return math.prod([*joined, *[self.conv_stride] * self.conv_layers])

    def native_model(self, **options: Any) -> _native.Model:
        """Make the extension's model, all parameters zero; `options` are its own."""
        return _native.Model(self._checked(), **options)

    def layout(self) -> _native.Layout:
        """Return the parameters of such a model, which is not made: however large, it takes no memory."""
        return _native.Model.declared_layout(self._checked())

    def _checked(self) -> dict[str, Any]:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                value = flag("Seq2SeqConfig", field.name, value)
            elif field.type == "int":
                value = integer("Seq2SeqConfig", field.name, value, 0, 2**31 - 1)
            elif field.type == "float" or (field.type == "float | None" and value is not None):
                value = number("Seq2SeqConfig", field.name, value)
            object.__setattr__(self, field.name, value)  # plain, for JSON: it may have been numpy's
        return asdict(self)


def _pairs(op: str, batch: Any) -> tuple[Any, Any, Any, Any]:
    """What a batch consists of; the native side checks it."""
    try:
        return batch.source, batch.source_lengths, batch.target, batch.target_lengths
    except AttributeError:
        raise TypeError(f"[{op}] Expected batch as a Batch, got {type(batch).__name__}.") from None


def _copies(batch: Any) -> Any:
    return getattr(batch, "copies", None)


@dataclass(frozen=True)
class LossResult:
    """Sums over the target tokens of a batch, in nats."""

    loss: float
    """With label smoothing."""
    nll: float
    """Without."""
    tokens: int
    correct: int
    """Tokens that were the most probable."""


@dataclass(frozen=True)
class StepResult:
    """Sums over the target tokens of a training batch, dropout on, label smoothing in."""

    loss: float
    tokens: int
    correct: int


class EncoderState:
    """An encoded batch with the decoder that is at work on it. Made by `Encoder` and `Seq2Seq.encode`."""

    def __init__(self, session: _native.Session, lengths: Any) -> None:
        self._session = session
        self.lengths = np.asarray(lengths)
        """[N]"""

    @property
    def memory(self) -> Floats:
        """[sum S, M] the states of the encoder's top layer, sequences one after the other."""
        return self._session.memory()

    @property
    def last(self) -> list[tuple[Floats, Floats | None]]:
        """The last states (h, c) of each encoder layer, directions side by side: [N, M]; c is None for a
        GRU. Without recurrent layers the mean of the memory."""
        return self._session.last()


class Encoder:
    """The encoder of a network: `state = encoder(source, source_lengths)`."""

    def __init__(self, model: Seq2Seq) -> None:
        self._model = model

    def __call__(
        self,
        source: Floats | Ids,
        source_lengths: Ids,
        max_rows: int | None = None,
        copies: Ids | None = None,
    ) -> EncoderState:
        """Encode a batch.

        Args:
            source: ids [sum S] or features [sum S, C], sequences one after the other.
            source_lengths: [N], at least 1 each.
            max_rows: the most rows a decoder step on it will have (beams and all); N where None.
            copies: copy ids [sum S], for a network that copies.
        """
        lengths = to_host(array("encode", "source_lengths", source_lengths, (None,)))
        sources = len(lengths)
        rows = sources if max_rows is None else integer("encode", "max_rows", max_rows, sources, 2**31 - 1)
        return EncoderState(self._model.native.encode(source, lengths, rows, copies), lengths)


class Decoder:
    """The decoder of a network, one step at a time, for searches of one's own (see also
    `search.beam_search`)."""

    def __init__(self, model: Seq2Seq) -> None:
        self._model = model

    def step(
        self, state: EncoderState, tokens: Ids | None = None, parents: Ids | None = None
    ) -> tuple[Floats, Floats | None]:
        """Advance every row by a token; the state moves on.

        Args:
            state: from `Seq2Seq.encode`. Its first step has a row per source.
            tokens: [rows] the tokens emitted last; <bos> for every source where None, in the first step.
            parents: [rows] the row of the last step (in the first: the source) that each row continues; 0
                .. rows - 1 where None.

        Returns:
            log-probabilities [rows, V] (of a network that copies, of as many copy ids as the batch has), and
            attention weights [rows, longest source] or None.
        """
        if not isinstance(state, EncoderState):
            raise TypeError(f"[step] Expected state as an EncoderState, got {type(state).__name__}.")
        if tokens is None:
            tokens = np.full(len(state.lengths), self._model.config.bos_id, np.int32)
        if parents is None:
            parents = np.arange(len(array("step", "tokens", tokens, (None,))), dtype=np.int32)
        log_probs = state._session.step(parents, tokens)
        return log_probs, state._session.attention()


class Seq2Seq(FlatParameters):
    """A recurrent encoder-decoder: loss, gradients, scores and search in one native call each.

    Sequences of a batch lie one after the other, without padding; lengths tell them apart. Results do not
    depend on what else is in the batch, nor on the number of threads.

    Batches are numpy arrays wherever the model lies (features may lie on its device, too), and so are
    scores. Parameters and gradients lie with the model.

    Args:
        config: what the network is made of.
        seed: of the initial parameters, which are the same on every device; None: all zero, for a model whose
            parameters are about to be set.
        device: where it lies and runs: "cpu", "cuda", "cuda:1" ...; "auto": CUDA where it is ready, else the
            CPU.

    Raises:
        ValueError: a value of config; the message names the field.
        RuntimeError: there is no such device.
    """

    native: _native.Model

    def __init__(self, config: Seq2SeqConfig, seed: int | None = 0, device: str = "cpu") -> None:
        if not isinstance(config, Seq2SeqConfig):
            raise TypeError(f"[Seq2Seq] Expected config as a Seq2SeqConfig, got {type(config).__name__}.")
        if seed is not None:
            integer("Seq2Seq", "seed", seed, 0, 2**64 - 1)
        self.config = config
        super().__init__(config.native_model(device=resolve_device("Seq2Seq", device, auto=True)))
        if seed is not None:
            self._initialise(seed)
        self.encoder = Encoder(self)
        self.decoder = Decoder(self)

    def _initialise(self, seed: int) -> None:
        """Uniform in +-1 / sqrt(fan in) as PyTorch does for recurrent and linear layers; embeddings normal,
        deviation 0.1."""
        rng = np.random.Generator(np.random.Philox(seed))
        for name, shape, _, decay in self._layout:
            if ".norm_" in name:
                value = np.full(shape, 1.0 if name.endswith("weight") else 0.0)
            elif "embedding" in name:
                value = rng.normal(0.0, 0.1, shape)
            elif ".rnn." in name:
                cell_hidden = self.config.encoder_hidden if "encoder" in name else self.config.decoder_hidden
                bound = 1.0 / math.sqrt(cell_hidden)
                value = rng.uniform(-bound, bound, shape)
            elif decay:
                bound = 1.0 / math.sqrt(shape[-1])
                value = rng.uniform(-bound, bound, shape)
            else:
                value = np.zeros(shape)
            self.native.load_parameter(name, value.astype(np.float32))

    def to(self, device: str) -> Seq2Seq:
        """Return a model of the same parameters on a device; this one, where it lies there already."""
        there = resolve_device("to", device, auto=True)
        if there == self.device:
            return self
        model = Seq2Seq(self.config, seed=None, device=there)
        for name, value in self.native.state().items():
            model.native.load_parameter(name, value)
        model.freeze(*self.frozen)
        return model

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> LossResult:
        """Cross-entropy of the targets given the sources, without dropout."""
        return LossResult(
            *self.native.loss(
                *_pairs("loss", batch), number("loss", "label_smoothing", label_smoothing), _copies(batch)
            )
        )

    def forward_backward(
        self,
        batch: Batch,
        *,
        update: int = 0,
        seed: int = 0,
        label_smoothing: float = 0.0,
        compute_type: str = "float32",
        sampling: float = 0.0,
    ) -> StepResult:
        """Loss, and the gradient of loss / tokens in `gradients()`, with dropout.

        Args:
            update: number of the training step; with seed and batch.example_ids it names the dropout masks.
            compute_type: "bfloat16" rounds both factors of the products to 8 bits of precision, where that is
                faster: on CUDA for tensor cores, of many rows, but in the recurrences; on processors with
                AVX512-BF16 in the recurrences too; on other processors it changes nothing. Parameters,
                gradients and sums are float32.
            sampling: scheduled sampling (Bengio et al. 2015): the probability, for each token but the first
                that the decoder is fed, that it is not the target's but drawn from the model's distribution
                at the step before. No gradient goes through a draw. Seed, update, example and time decide it.
        """
        return StepResult(
            *self.native.forward_backward(
                *_pairs("forward_backward", batch),
                batch.example_ids,
                integer("forward_backward", "update", update, 0, 2**32 - 1),
                integer("forward_backward", "seed", seed, 0, 2**64 - 1),
                number("forward_backward", "label_smoothing", label_smoothing),
                compute_type,
                number("forward_backward", "sampling", sampling, 0.0, 1.0),
                _copies(batch),
            )
        )

    def score(self, batch: Batch) -> Floats:
        """float32 [sum T]: the log-probability of every target token, sequences one after the other."""
        return self.native.score(*_pairs("score", batch), _copies(batch))

    def encode(
        self,
        source: Floats | Ids,
        source_lengths: Ids,
        max_rows: int | None = None,
        copies: Ids | None = None,
    ) -> EncoderState:
        """Encode a batch for `decoder.step`. See `Encoder`."""
        return self.encoder(source, source_lengths, max_rows, copies)

    def generate(
        self,
        source: Floats | Ids,
        source_lengths: Ids,
        *,
        copies: Ids | None = None,
        beam_size: int | None = None,
        patience: float | None = None,
        num_hypotheses: int | None = None,
        length_penalty: float | None = None,
        min_decoding_length: int | None = None,
        max_decoding_length: int | None = None,
        return_attention: bool = DEFAULTS.return_attention,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """Search for the best outputs: greedy for beam_size 1, else beam search. One native call for the
        whole batch. None stands for what the preset says, or else for `search.SearchOptions`' default,
        which is CTranslate2's.

        Args:
            source: ids [sum S] or features [sum S, C], sequences one after the other.
            source_lengths: [N], at least 1 each.
            copies: copy ids [sum S], for a network that copies; outputs are copy ids, too.
            beam_size: live hypotheses per source.
            patience: a source stops when round(beam_size * patience) hypotheses have finished, or sooner; see
                `search.SearchOptions`.
            num_hypotheses: how many to return, at most beam_size.
            length_penalty: hypotheses are ranked by log_prob / length ** length_penalty; the end token
                counts.
            min_decoding_length: no end token before this many tokens.
            max_decoding_length: steps at most.
            return_attention: keep each token's attention weights.
            options: others of `search.SearchOptions`; preset="fairseq", say, decodes as fairseq does.

        Returns:
            For each source its hypotheses, best first.

        Raises:
            ValueError, TypeError: an argument; the message names it.
        """
        options |= given(
            beam_size=beam_size,
            patience=patience,
            num_hypotheses=num_hypotheses,
            length_penalty=length_penalty,
            min_decoding_length=min_decoding_length,
            max_decoding_length=max_decoding_length,
            return_attention=return_attention,
        )
        native = native_options(options, self.config.target_vocab_size, copies)
        return self.native.generate(source, source_lengths, native, copies)

    def stream(self) -> EncoderStream:
        """Encode a source while it comes in, for a model with `bidirectional=False`. See
        `streaming.EncoderStream`."""
        from seq2seq_fast.streaming import EncoderStream

        return EncoderStream(self)

    def save(self, folder: str | os.PathLike[str], **fields: Any) -> None:
        """Write the model's folder. See `files.save_model`."""
        from seq2seq_fast.files import save_model

        save_model(folder, self, **fields)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], device: str = "cpu") -> Seq2Seq:
        """Read a model's folder. See `files.load_model`, which also gives its vocabularies and tokenisers."""
        from seq2seq_fast.files import load_model

        return load_model(folder, device).model

# ruff: noqa: E501 (a table is read best with a line for each option)
"""The options of `train`, one line each. From the table come the flags and their help, the check of the YAML file,
and the arguments of what is built; docs/cli.md lists it. Names are OpenNMT's where OpenNMT has one.

A target says where a value goes: "model.dropout" is the argument `dropout` of Seq2SeqConfig. Where several options
have the same target the later line wins, so that `hidden_size` sets both widths and `enc_hid_size` one of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq_fast.batching import BATCH_TYPES
from seq2seq_fast.front_end import NORMALIZATIONS
from seq2seq_fast.metrics import available_metrics
from seq2seq_fast.optim import OPTIMIZERS
from seq2seq_fast.scheduled_sampling import TYPES as SAMPLING_TYPES
from seq2seq_fast.tokenizers import TOKENIZERS

from .options import Kind, Option, Value

__all__ = ["TRAIN_OPTIONS", "arguments_for", "resolve"]


def _o(
    name: str,
    kind: Kind,
    default: Value | None,
    targets: str,
    help: str,
    choices: Sequence[str] = (),
    zero_is_off: bool = False,
) -> Option:
    return Option(name, kind, default, tuple(targets.split()), help, tuple(choices), zero_is_off)


CELLS = ("lstm", "gru")
DATA_TYPES = ("text", "features")
DECAY_METHODS = ("auto", "none", "plateau", "step", "exponential", "cosine", "rsqrt", "noam")
VALIDATION_METRICS = ("loss", "perplexity", *available_metrics())

# fmt: off
TRAIN_OPTIONS: tuple[Option, ...] = (
    _o("train", "path", None, "data.train", "Training pairs: lines of source TAB target, plain, .gz or .xz."),
    _o("valid", "path", None, "data.valid", "Validation pairs; further columns and lines of a source are references."),
    _o("data_type", "text", "text", "data.data_type", "What sources are: text, or feature sequences in files; --train and --valid are then manifests.", DATA_TYPES),
    _o("out", "path", None, "data.out", "Folder for the run: models (best, last), checkpoints, metrics.jsonl."),
    _o("source_tokenizer", "text", "space", "data.source_tokenizer", "How sources are cut into tokens.", tuple(TOKENIZERS)),
    _o("target_tokenizer", "text", "space", "data.target_tokenizer", "How targets are cut into tokens.", tuple(TOKENIZERS)),
    _o("lowercase", "bool", False, "data.lowercase", "Lowercase sources and targets."),
    _o("src_subword_model", "path", None, "data.src_subword_model", "SentencePiece model of the sources; learnt from --train where not given."),
    _o("tgt_subword_model", "path", None, "data.tgt_subword_model", "SentencePiece model of the targets; learnt from --train where not given."),
    _o("subword_vocab_size", "int", 8000, "data.subword_vocab_size", "Pieces of a SentencePiece model that is learnt, at most."),
    _o("src_vocab_size", "int", 0, "data.src_vocab_size", "Source tokens kept, the most frequent (0: all).", zero_is_off=True),
    _o("tgt_vocab_size", "int", 0, "data.tgt_vocab_size", "Target tokens kept, the most frequent (0: all).", zero_is_off=True),
    _o("src_words_min_frequency", "int", 1, "data.src_words_min_frequency", "Source tokens seen less often become <unk>."),
    _o("tgt_words_min_frequency", "int", 1, "data.tgt_words_min_frequency", "Target tokens seen less often become <unk>."),
    _o("src_seq_length", "int", 0, "data.src_seq_length", "Leave out pairs with a longer source, in tokens (0: none).", zero_is_off=True),
    _o("tgt_seq_length", "int", 0, "data.tgt_seq_length", "Leave out pairs with a longer target, in tokens (0: none).", zero_is_off=True),
    _o("source_eos", "bool", False, "data.source_eos", "End sources with the end token, too."),
    _o("cache", "bool", False, "data.cache", "For corpora larger than memory: binarise the data once, into OUT/cache, and train from there."),
    _o("cache_dir", "path", None, "data.cache_dir", "The same in this folder, which runs may share."),
    _o("pre_word_vecs_enc", "path", None, "data.pre_word_vecs_enc", "Where source embeddings begin: word2vec's or GloVe's text, or a matrix in the vocabulary's order (.npy, .safetensors)."),
    _o("pre_word_vecs_dec", "path", None, "data.pre_word_vecs_dec", "Where target embeddings begin."),
    _o("freeze_word_vecs_enc", "bool", False, "data.freeze_word_vecs_enc", "Source embeddings stay as they are."),
    _o("freeze_word_vecs_dec", "bool", False, "data.freeze_word_vecs_dec", "Target embeddings stay as they are."),
    _o("features_in_memory", "bool", False, "data.features_in_memory", "A manifest's archives are read into memory, compressed ones, too, instead of mapped."),

    _o("normalization", "text", "none", "front_end.normalization", "Features are normalised by mean and deviation: of all training vectors, of their group's, of their sequence's.", NORMALIZATIONS),
    _o("deltas", "int", 0, "front_end.deltas", "Slopes of the features beside them: 1, or 2 for slopes of slopes, too."),
    _o("delta_window", "int", 2, "front_end.delta_window", "Slopes are of so many vectors before and behind."),
    _o("stack_frames", "int", 1, "front_end.stack", "So many successive vectors make one."),
    _o("stack_stride", "int", 0, "front_end.stride", "And each begins so many after the one before (0: as many as --stack_frames)."),

    _o("time_masks", "int", 0, "augmentation.time_masks", "In training so many runs of vectors of a sequence are 0."),
    _o("time_mask_width", "int", 0, "augmentation.time_mask_width", "A run's longest, in vectors."),
    _o("time_mask_share", "float", 1.0, "augmentation.time_mask_share", "And in parts of the sequence."),
    _o("frequency_masks", "int", 0, "augmentation.frequency_masks", "In training so many runs of features are 0."),
    _o("frequency_mask_width", "int", 0, "augmentation.frequency_mask_width", "A run's widest, in features."),
    _o("speed_change", "float", 0.0, "augmentation.speed_change", "In training sequences are faster or slower by this part at most."),
    _o("feature_noise", "float", 0.0, "augmentation.noise", "Deviation of the noise on normalised features in training."),

    _o("rnn_type", "text", "lstm", "model.encoder_cell model.decoder_cell", "Recurrent cell.", CELLS),
    _o("enc_rnn_type", "text", None, "model.encoder_cell", "Recurrent cell of the encoder.", CELLS),
    _o("dec_rnn_type", "text", None, "model.decoder_cell", "Recurrent cell of the decoder.", CELLS),
    _o("layers", "int", 1, "model.encoder_layers model.decoder_layers", "Recurrent layers of encoder and decoder."),
    _o("enc_layers", "int", None, "model.encoder_layers", "Recurrent layers of the encoder (0: a projection, for sources without an order)."),
    _o("dec_layers", "int", None, "model.decoder_layers", "Recurrent layers of the decoder."),
    _o("hidden_size", "int", 256, "model.encoder_hidden model.decoder_hidden", "Width of encoder (each direction) and decoder."),
    _o("enc_hid_size", "int", None, "model.encoder_hidden", "Width of the encoder, of each direction."),
    _o("dec_hid_size", "int", None, "model.decoder_hidden", "Width of the decoder."),
    _o("word_vec_size", "int", 256, "model.source_embedding_dim model.target_embedding_dim", "Width of the embeddings."),
    _o("src_word_vec_size", "int", None, "model.source_embedding_dim", "Width of the source embedding."),
    _o("tgt_word_vec_size", "int", None, "model.target_embedding_dim", "Width of the target embedding."),
    _o("bidirectional", "bool", True, "model.bidirectional", "Encode in both directions (OpenNMT's brnn)."),
    _o("encoder_pyramid", "text", "", "model.encoder_pyramid", "For each encoder layer, how many consecutive states of the one below (of the first: inputs) are joined: 1,2 for example."),
    _o("pyramid_skips", "bool", False, "model.pyramid_skips", "Of the states that --encoder_pyramid counts together only the first is read."),
    _o("conv_layers", "int", 0, "model.conv_layers", "Convolutions over time before the recurrent layers."),
    _o("conv_channels", "int", 64, "model.conv_channels", "Their outputs."),
    _o("conv_width", "int", 3, "model.conv_width", "Steps that each sees."),
    _o("conv_stride", "int", 2, "model.conv_stride", "Steps from one of its outputs to the next."),
    _o("context", "text", "attention", "model.context", "What the decoder sees of the source.", ("attention", "last", "mean")),
    _o("global_attention", "text", "general", "model.attention_score", "Attention score.", ("dot", "general", "mlp")),
    _o("attention_dim", "int", 0, "model.attention_dim", "Width of mlp attention (0: the decoder's)."),
    _o("input_feed", "bool", True, "model.input_feeding", "Feed the attentional vector into the next step."),
    _o("copy_attn", "bool", False, "model.copy_attention", "The output may copy tokens of the source, also such as are not in the target vocabulary."),
    _o("coverage_attn", "bool", False, "model.coverage", "mlp attention sees how much it has attended to each place so far."),
    _o("lambda_coverage", "float", 0.0, "model.coverage_loss", "Weight of the loss against attending to a place again."),
    _o("location_filters", "int", 0, "model.location_filters", "mlp attention sees how much the places around have been attended to, by so many filters."),
    _o("location_width", "int", 31, "model.location_width", "Places that such a filter spans."),
    _o("location_cumulative", "bool", True, "model.location_cumulative", "They see the sum of the weights so far, not those of the step before."),
    _o("bridge", "text", "dense", "model.bridge", "From the encoder's last states to the decoder's first.", ("copy", "dense", "zero")),
    _o("share_decoder_embeddings", "bool", False, "model.tie_output", "The output projection is the target embedding."),
    _o("share_embeddings", "bool", False, "model.share_embeddings", "Source and target have one vocabulary and one embedding."),
    _o("residual", "bool", False, "model.residual", "Recurrent layers but the first add their input to their output."),
    _o("layer_norm", "bool", False, "model.layer_norm", "Normalise what leaves each recurrent layer."),
    _o("reset_after", "bool", True, "model.reset_after", "GRU: reset gate after the recurrent product, as in PyTorch."),
    _o("ctc_weight", "float", 0.0, "model.ctc_weight", "Part of the loss that a CTC output of the encoder has, the decoder having the rest."),
    _o("dropout", "float", 0.0, "model.dropout", "On embeddings, between layers and on the attentional vector."),
    _o(
        "embedding_dropout",
        "float",
        None,
        "model.embedding_dropout",
        "On embeddings, instead of --dropout. With 0 a CPU multiplies a batch's repeated tokens once.",
    ),
    _o("output_dropout", "float", None, "model.output_dropout", "On the attentional vector, instead of --dropout."),
    _o("variational_dropout", "bool", False, "model.variational_dropout", "One mask for all steps of a sequence."),
    _o("word_dropout", "float", 0.0, "model.word_dropout", "Rate at which tokens that encoder and decoder read become <unk>."),
    _o("zoneout_hidden", "float", 0.0, "model.zoneout_hidden", "Rate at which a unit of a recurrent state keeps its value."),
    _o("zoneout_cell", "float", 0.0, "model.zoneout_cell", "The same for the cells of LSTMs."),

    _o("optim", "text", "adam", "optimizer.type", "Optimiser.", tuple(OPTIMIZERS)),
    _o("learning_rate", "float", 0.001, "optimizer.lr", "Learning rate."),
    _o("weight_decay", "float", None, "optimizer.weight_decay", "Weight decay; biases are spared."),
    _o("adam_beta1", "float", None, "optimizer.beta1", "adam, adamw: decay of the first moment (0.9)."),
    _o("adam_beta2", "float", None, "optimizer.beta2", "adam, adamw: decay of the second moment (0.999)."),
    _o("optim_eps", "float", None, "optimizer.eps", "adam, adamw, adagrad: added to the denominator."),
    _o("momentum", "float", None, "optimizer.momentum", "sgd: momentum."),
    _o("nesterov", "bool", None, "optimizer.nesterov", "sgd: Nesterov's momentum."),
    _o("adagrad_accumulator_init", "float", None, "optimizer.initial_accumulator_value", "adagrad: where the sums begin."),
    _o("decay_method", "text", "auto", "scheduler.type", "How the learning rate falls. auto: cosine with --cosine_steps, else plateau with --valid, else none.", DECAY_METHODS),
    _o("learning_rate_decay", "float", 0.5, "scheduler.factor", "plateau, step, exponential: factor on the learning rate (plateau: 1 for a constant rate)."),
    _o("decay_steps", "int", 0, "scheduler.every", "step, exponential: steps from factor to factor.", zero_is_off=True),
    _o("start_decay_steps", "int", 0, "scheduler.start", "step: steps before the first fall (0: --decay_steps).", zero_is_off=True),
    _o("decay_patience", "int", 0, "scheduler.patience", "plateau: validations without gain before the learning rate falls."),
    _o("decay_threshold", "float", 0.0001, "scheduler.threshold", "plateau: the least gain that counts, as a part of the best."),
    _o("min_learning_rate", "float", 0.0, "scheduler.min_lr", "The learning rate falls no lower."),
    _o("cosine_steps", "int", 0, "scheduler.steps", "cosine: over so many steps (0: the whole run, by --train_steps or --max_epochs).", zero_is_off=True),
    _o("warmup_steps", "int", 0, "scheduler.warmup_steps", "Steps over which the learning rate rises (noam: 0 stands for 4000)."),

    _o("batch_size", "int", 2048, "trainer.batch_size", "Size of a batch, counted in --batch_type."),
    _o("batch_type", "text", "tokens", "trainer.batch_type", "What --batch_size counts.", BATCH_TYPES),
    _o("bucket_size", "int", 16384, "trainer.bucket_size", "Examples that are sorted by length together."),
    _o("accum_count", "int", 1, "trainer.accum_count", "So many batches make one update, as one batch as large."),
    _o("max_epochs", "int", 0, "trainer.max_epochs", "Stop after so many epochs (0: no limit; 10 if there is none at all).", zero_is_off=True),
    _o("train_steps", "int", 0, "trainer.max_steps", "Stop after so many steps (0: no limit).", zero_is_off=True),
    _o("max_minutes", "float", 0.0, "trainer.max_minutes", "Stop after so many minutes (0: no limit).", zero_is_off=True),
    _o("early_stopping", "int", 0, "trainer.early_stopping", "Stop after so many validations without gain (0: never).", zero_is_off=True),
    _o("max_grad_norm", "float", 5.0, "trainer.max_grad_norm", "Scale gradients to this norm at most (0: never)."),
    _o("label_smoothing", "float", 0.0, "trainer.label_smoothing", "Share of the probability spread over all tokens."),
    _o("scheduled_sampling_type", "text", "none", "sampling.type", "How often the decoder is fed tokens that it draws itself, instead of the target's.", ("none", *SAMPLING_TYPES)),
    _o("scheduled_sampling_k", "float", None, "sampling.k", "The target's token is read with probability 1 - k i (linear), k ** i (exponential), k / (k + exp(i / k)) (inverse_sigmoid) at step i."),
    _o("scheduled_sampling_read_probability", "float", 0.0, "sampling.read_probability", "And with no less than this; constant: with this."),
    _o("compute_type", "text", "float32", "trainer.compute_type", "What products of training round their factors to, on GPUs and on processors with AVX512-BF16; weights stay float32.", ("float32", "bfloat16")),
    _o("average_decay", "float", 0.0, "trainer.average_decay", "Validate and save a moving average of the weights, of this decay a step (0: not)."),
    _o("seed", "int", 0, "trainer.seed network.seed", "Of weights, order and dropout."),
    _o("valid_steps", "int", 0, "trainer.validate_every", "Validate each so many steps (0: after each epoch).", zero_is_off=True),
    _o("save_checkpoint_steps", "int", 0, "trainer.checkpoint_every", "Save each so many steps (0: after each epoch).", zero_is_off=True),
    _o("keep_checkpoint", "int", 1, "trainer.keep_checkpoints", "Checkpoints that stay, the newest."),
    _o("report_every", "int", 100, "trainer.report_every", "Report each so many steps."),
    _o("tensorboard", "path", None, "trainer.tensorboard", "Folder for TensorBoard's event files (extra tensorboard)."),

    _o("valid_metric", "text", "loss", "validation.metric", "What the best model is chosen by; all but loss and perplexity decode --valid.", VALIDATION_METRICS),
    _o("valid_beam_size", "int", 1, "validation.beam_size", "Beam size of that decoding."),
    _o("valid_ctc_weight", "float", 0.0, "validation.ctc_weight", "Part of the CTC output in that decoding's scores.", zero_is_off=True),
    _o("valid_max_length", "int", 256, "validation.max_decoding_length", "Longest output of that decoding, in tokens."),

    _o("device", "text", "auto", "run.device", "Where: auto (CUDA where it is ready, else the CPU), cpu, cuda or cuda:N."),
    _o("threads", "int", 0, "run.threads", "Threads (0: as many as there are processors).", zero_is_off=True),
)
# fmt: on


def arguments_for(
    section: str, options: Mapping[str, Value | None], table: Sequence[Option] | None = None
) -> dict[str, Any]:
    """Return the arguments that the options of a table (None: TRAIN_OPTIONS) give to one section, "model" for
    example.

    Options that are not there give none: those of `forecast train` are another table, with lines of this one.
    """
    arguments: dict[str, Any] = {}
    for option in TRAIN_OPTIONS if table is None else table:
        value = options.get(option.name)
        if value is None or (option.zero_is_off and value == 0):
            continue
        for target in option.targets:
            head, _, argument = target.partition(".")
            if head == section:
                arguments[argument] = value
    return arguments


def resolve(
    flags: Mapping[str, object],
    *files: tuple[str, Mapping[str, object]],
    table: Sequence[Option] | None = None,
) -> dict[str, Value | None]:
    """Return every option's value: the flag if given (not None), else the first file's that has it, else the default.

    Args:
        flags: values from the command line.
        files: pairs of a file's name and its content.
        table: the options there are; None: TRAIN_OPTIONS.

    Raises:
        ValueError: a file has an unknown key (the message has the nearest option), or a value is of the wrong
            kind.
    """
    table = TRAIN_OPTIONS if table is None else table
    known = [option.name for option in table]
    for origin, content in files:
        for key in content:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise ValueError(f"{origin}: unknown option {key}.{hint}")
    sources = [("command line", flags), *files]
    values: dict[str, Value | None] = {}
    for option in table:
        parsed = [option.parse(content.get(option.name), origin) for origin, content in sources]
        values[option.name] = next((value for value in parsed if value is not None), option.default)
    return values

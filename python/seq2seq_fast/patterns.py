"""Regular expressions as automata over tokens, for `allowed_outputs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from seq2seq_fast.regex import CharacterAutomaton

if TYPE_CHECKING:
    from seq2seq_fast._native import Automaton
    from seq2seq_fast.text import TextField

__all__ = ["pattern", "token_texts"]

MOST_STATES = 1 << 20
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # as SentencePiece writes it


class _Texts:
    """The tokens' texts, letter by letter: what they share is walked once."""

    def __init__(self) -> None:
        self.children: dict[str, _Texts] = {}
        self.tokens: list[int] = []

    def add(self, text: str, token: int) -> None:
        node = self
        for character in text:
            node = node.children.setdefault(character, _Texts())
        node.tokens.append(token)

    def walk(self, characters: CharacterAutomaton, state: int) -> Iterator[tuple[int, int]]:
        """Yield the tokens that may follow a state, with the state that each leads to."""
        work = [(self, state)]
        while work:
            node, here = work.pop()
            for token in node.tokens:
                yield token, here
            for character, child in node.children.items():
                there = characters.following(here, character)
                if there >= 0:
                    work.append((child, there))


def pattern(expression: str, texts: Sequence[str | None], *, leading: str = "") -> Automaton:
    """Return the automaton of all token sequences whose text matches a regular expression, as a whole.

    Args:
        expression: see `regex`.
        texts: of each id what it adds to the text; None or "": it is never part of an output.
        leading: what is left out where the text would begin with it. With texts of words that begin with " "
            and leading=" " words are separated by spaces.

    Raises:
        ValueError: the expression is none, or has no automaton of a reasonable size.
    """
    from seq2seq_fast._native import Automaton

    if not isinstance(expression, str):
        raise TypeError(f"[pattern] Expected expression as a string, got {type(expression).__name__}.")
    characters = CharacterAutomaton(expression)
    first, others = _Texts(), _Texts()
    for token, text in enumerate(texts):
        if text:
            others.add(text, token)
            if text != leading:
                first.add(text.removeprefix(leading), token)
    # A state is one of the characters', and whether there is a token yet.
    numbers: dict[tuple[int, bool], int] = {(0, False): 0}
    edges: list[list[tuple[int, int]]] = []
    for key in (order := [(0, False)]):
        found = []
        for token, state in (others if key[1] else first).walk(characters, key[0]):
            there = (state, True)
            if there not in numbers:
                numbers[there] = len(numbers)
                order.append(there)
                if len(numbers) > MOST_STATES:
                    raise ValueError(f"[pattern] Expected an automaton of at most {MOST_STATES} states.")
            found.append((token, numbers[there]))
        edges.append(sorted(found))
    accepts = [characters.accepts(state) for state, _ in order]
    alive = _alive(edges, accepts)
    begins, tokens, targets = [0], [], []
    for found in edges:
        kept = [(token, target) for token, target in found if alive[target]]
        tokens += [token for token, _ in kept]
        targets += [target for _, target in kept]
        begins.append(len(tokens))
    return Automaton(begins, tokens, targets, accepts)


def _alive(edges: list[list[tuple[int, int]]], accepts: list[bool]) -> list[bool]:
    """From which states a text may still come to an end."""
    before: list[list[int]] = [[] for _ in edges]
    for state, found in enumerate(edges):
        for target in {target for _, target in found}:
            before[target].append(state)
    alive = list(accepts)
    work = [state for state, accepted in enumerate(accepts) if accepted]
    while work:
        for state in before[work.pop()]:
            if not alive[state]:
                alive[state] = True
                work.append(state)
    return alive


def token_texts(field: TextField) -> dict[str, Any]:
    """Return `pattern`'s arguments for a model's target: what each token adds to an output's text."""
    vocabulary = field.vocabulary
    special = {*vocabulary.control_ids, vocabulary.unk_id}
    texts: list[str | None] = [
        None if i in special else vocabulary.decode([i])[0] for i in range(len(vocabulary))
    ]
    kind = field.tokenizer.type
    if kind == "char":
        return {"texts": texts}
    if kind == "space":
        return {"texts": [text and f" {text}" for text in texts], "leading": " "}
    if kind == "sentencepiece":
        return {"texts": [text and text.replace(SPACE, " ") for text in texts], "leading": " "}
    raise ValueError(f"[pattern] Expected a tokeniser of type char, space or sentencepiece, got {kind}.")

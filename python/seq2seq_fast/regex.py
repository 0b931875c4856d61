"""Regular expressions: their syntax as a tree, and the deterministic automaton over characters.

The whole text has to match. There are literals, `.` (any character), classes (`[a-z]`, `[^a]`, `\\d`, `\\w`,
`\\s` and their capitals, by Unicode), groups, `|`, `*`, `+`, `?`, `{m}`, `{m,}`, `{m,n}`. What is no regular
language (back references, look-arounds), anchors and lazy or possessive repetition are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["CharacterAutomaton"]

Predicate = Callable[[str], bool]

MOST_REPEATS, MOST_STATES = 1000, 1 << 16
CLASSES: dict[str, Predicate] = {
    "d": str.isdecimal,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
}
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


class _Parser:
    """Recursive descent into fragments of a nondeterministic automaton (Thompson 1968)."""

    def __init__(self, expression: str) -> None:
        self.text = expression
        self.at = 0
        self.moves: list[list[tuple[Predicate | None, int]]] = []  # of each state; None: without a character

    def fail(self, expected: str) -> ValueError:
        return ValueError(f"[pattern] Expected {expected} at position {self.at} of {self.text!r}.")

    def state(self) -> int:
        if len(self.moves) >= MOST_STATES:
            raise self.fail(f"repetitions that make at most {MOST_STATES} states")
        self.moves.append([])
        return len(self.moves) - 1

    def parse(self) -> tuple[int, int]:
        begin, end = self.alternatives()
        if self.at < len(self.text):
            raise self.fail("no ')' without '('")
        return begin, end

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        if self.at == len(self.text):
            raise self.fail("more")
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self) -> tuple[int, int]:
        begin, end = self.state(), self.state()
        while True:
            one, two = self.sequence()
            self.moves[begin].append((None, one))
            self.moves[two].append((None, end))
            if self.peek() != "|":
                return begin, end
            self.at += 1

    def sequence(self) -> tuple[int, int]:
        begin = end = self.state()
        while self.peek() not in ("", "|", ")"):
            one, two = self.repeated()
            self.moves[end].append((None, one))
            end = two
        return begin, end

    def repeated(self) -> tuple[int, int]:
        start = self.at
        begin, end = self.atom()
        stop = self.at
        sign = self.peek()
        if sign not in ("*", "+", "?", "{"):
            return begin, end
        self.at += 1
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(sign) or self.bounds()
        if self.peek() in ("*", "+", "?", "{"):
            raise self.fail("one repetition, neither lazy nor possessive,")
        after = self.at

        def again() -> tuple[int, int]:  # another copy of the atom
            self.at = start
            copy = self.atom()
            assert self.at == stop
            return copy

        first = last = self.state()
        exits = []
        for _ in range(least):
            one, two = again()
            self.moves[last].append((None, one))
            last = two
        if most is None:
            one, two = again()
            self.moves[last].append((None, one))
            self.moves[two].append((None, last))
        else:
            for _ in range(most - least):
                exits.append(last)
                one, two = again()
                self.moves[last].append((None, one))
                last = two
        final = self.state()
        for state in (*exits, last):
            self.moves[state].append((None, final))
        self.at = after
        return first, final

    def bounds(self) -> tuple[int, int | None]:
        least = self.number()
        most: int | None = least
        if self.peek() == ",":
            self.at += 1
            most = None if self.peek() == "}" else self.number()
        if self.take() != "}":
            raise self.fail("'}' behind a number of repetitions")
        if least > MOST_REPEATS or (most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self.fail(f"repetitions in order, of at most {MOST_REPEATS},")
        return least, most

    def number(self) -> int:
        digits = ""
        while self.peek() and self.peek() in "0123456789":
            digits += self.take()
        if not digits:
            raise self.fail("a number")
        return int(digits)

    def atom(self) -> tuple[int, int]:
        c = self.take()
        if c == "(":
            if self.peek() == "?":
                if self.text[self.at : self.at + 2] != "?:":
                    raise self.fail("a group without extensions")
                self.at += 2
            begin, end = self.alternatives()
            if self.at == len(self.text) or self.take() != ")":
                raise self.fail("')'")
            return begin, end
        if c in "*+?{":
            self.at -= 1
            raise self.fail("something to repeat")
        if c in "^$":
            self.at -= 1
            raise self.fail("no anchor: the whole output has to match")
        return self.character((lambda _: True) if c == "." else self.set() if c == "[" else self.escaped(c))

    def character(self, predicate: Predicate) -> tuple[int, int]:
        begin, end = self.state(), self.state()
        self.moves[begin].append((predicate, end))
        return begin, end

    def escaped(self, c: str) -> Predicate:
        """The predicate of a character that was taken, or of the class that it begins."""
        if c != "\\":
            return lambda x: x == c
        name = self.take()
        if name.lower() in CLASSES:
            known = CLASSES[name.lower()]
            return known if name.islower() else lambda x: not known(x)
        if name.isalnum() and name not in CONTROLS:
            self.at -= 1
            raise self.fail("a character or a class behind '\\'")
        plain = CONTROLS.get(name, name)
        return lambda x: x == plain

    def set(self) -> Predicate:
        negated = self.peek() == "^"
        self.at += negated
        parts: list[Predicate] = []
        while (c := self.take()) != "]" or not parts:
            begin = self.at
            part = self.escaped(c)
            single = c if c != "\\" else CONTROLS.get(self.text[begin], self.text[begin])
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.take()
                if high == "\\":
                    high = self.take()
                    high = CONTROLS.get(high, high)
                if not part(single) or high < single:
                    raise self.fail("a range of characters in order")
                part = _between(single, high)
            parts.append(part)
        return (lambda x: not any(p(x) for p in parts)) if negated else lambda x: any(p(x) for p in parts)


def _between(low: str, high: str) -> Predicate:
    return lambda x: low <= x <= high


@dataclass
class _State:
    accepts: bool
    moves: list[tuple[Predicate, int]]  # into the nondeterministic automaton
    following: dict[str, int]  # by character, those that were asked for; -1: none


class CharacterAutomaton:
    """The deterministic automaton of a regular expression, whose states are made as they are asked for.

    State 0 is the first.
    """

    def __init__(self, expression: str) -> None:
        parser = _Parser(expression)
        begin, self._end = parser.parse()
        self._moves = parser.moves
        self._numbers: dict[frozenset[int], int] = {}
        self._states: list[_State] = []
        self._number([begin])

    def accepts(self, state: int) -> bool:
        """Whether a text may end here."""
        return self._states[state].accepts

    def following(self, state: int, character: str) -> int:
        """Return the state that a character leads to; -1: none."""
        here = self._states[state]
        if character not in here.following:
            reached = [target for predicate, target in here.moves if predicate(character)]
            here.following[character] = self._number(reached) if reached else -1
        return here.following[character]

    def _number(self, reached: Iterable[int]) -> int:
        """The state of these and of all that they lead to without a character."""
        found, work = set(reached), list(reached)
        while work:
            for predicate, target in self._moves[work.pop()]:
                if predicate is None and target not in found:
                    found.add(target)
                    work.append(target)
        key = frozenset(found)
        if key not in self._numbers:
            self._numbers[key] = len(self._states)
            moves = [(p, target) for s in sorted(found) for p, target in self._moves[s] if p is not None]
            self._states.append(_State(self._end in found, moves, {}))
        return self._numbers[key]

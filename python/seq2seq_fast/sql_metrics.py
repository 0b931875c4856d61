"""Execution accuracy: do predicted SQL queries give what the right ones give (sqlite)?"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ExecutionResult", "execution_accuracy", "fill_variables"]

MOST_INSTRUCTIONS = 20_000_000
"""Of sqlite's virtual machine: a query that takes more is ended."""

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_EACH = 100_000

Rows = Counter[tuple[Any, ...]]


@dataclass(frozen=True)
class ExecutionResult:
    """What came of the queries."""

    accuracy: float
    """The share of those measured whose result is the right one's."""
    measured: int
    left_out: int
    """Pairs whose right query fails, or gives nothing."""


def execution_accuracy(
    predicted: Sequence[str], right: Sequence[str], database: sqlite3.Connection
) -> ExecutionResult:
    """Run predicted and right queries and compare the rows they give, as multisets: in any order.

    Queries may only read: another statement, an error, or a query without end is a wrong answer. A pair whose
    right query fails or gives nothing says nothing, and is left out (Finegan-Dollak et al. 2018).

    Args:
        predicted: [N] SQL.
        right: [N] SQL.
        database: a connection; it is left as it is.

    Raises:
        ValueError: the two differ in number.
    """
    if len(predicted) != len(right):
        raise ValueError(
            f"[execution_accuracy] Expected as many right queries as predicted, {len(predicted)}, "
            f"got {len(right)}."
        )
    measured = correct = 0
    for query, answer in zip(predicted, right, strict=True):
        expected = _run(database, answer)
        if not expected:
            continue
        measured += 1
        correct += _run(database, query) == expected
    accuracy = correct / measured if measured else 0.0
    return ExecutionResult(accuracy, measured, len(right) - measured)


def fill_variables(template: str, variables: Mapping[str, str]) -> str:
    """Put values in the place of a template's variables, longer names first."""
    for name in sorted(variables, key=len, reverse=True):
        template = template.replace(name, variables[name])
    return template


def _run(database: sqlite3.Connection, query: str) -> Rows | None:
    """The rows of a query; None: it fails."""
    left = MOST_INSTRUCTIONS

    def spend() -> int:
        nonlocal left
        left -= _EACH
        return int(left <= 0)

    database.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
    )
    database.set_progress_handler(spend, _EACH)
    try:
        return Counter(tuple(row) for row in database.execute(query))
    except (sqlite3.Error, sqlite3.Warning, ValueError):  # ValueError: a NUL in the text
        return None
    finally:
        database.set_authorizer(None)
        database.set_progress_handler(None, 0)

"""Execution accuracy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from seq2seq_fast import sql_metrics
from seq2seq_fast.sql_metrics import execution_accuracy, fill_variables


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE city (name TEXT, state TEXT, people INT);"
        "INSERT INTO city VALUES ('austin', 'texas', 3), ('dallas', 'texas', 5), ('miami', 'florida', 5);"
    )
    yield connection
    connection.close()


RIGHT = "SELECT name FROM city WHERE state = 'texas'"


@pytest.mark.parametrize(
    ("query", "correct"),
    [
        (RIGHT, True),
        ("SELECT name FROM city WHERE state = 'texas' ORDER BY name DESC", True),
        ("SELECT DISTINCT c.name FROM city AS c WHERE c.state = 'texas' ;", True),
        ("SELECT name FROM city", False),
        ("SELECT name FROM city WHERE state = 'texas' UNION ALL SELECT 'dallas'", False),  # a row twice
        ("SELECT name, state FROM city WHERE state = 'texas'", False),
        ("SELECT nothing FROM nowhere", False),
        ("SELECT (", False),
        ("", False),
        ("SELECT name FROM city; SELECT name FROM city", False),
        ("SELECT '\0", False),
    ],
)
def test_what_counts(database: sqlite3.Connection, query: str, correct: bool) -> None:
    result = execution_accuracy([query], [RIGHT], database)
    assert (result.accuracy, result.measured, result.left_out) == (float(correct), 1, 0)


@pytest.mark.parametrize(
    "query", ["DROP TABLE city", "DELETE FROM city", "ATTACH 'x' AS y", "PRAGMA writable_schema = 1"]
)
def test_queries_only_read(database: sqlite3.Connection, query: str) -> None:
    assert execution_accuracy([query, RIGHT], [RIGHT, RIGHT], database).accuracy == 0.5
    database.execute("INSERT INTO city VALUES ('tampa', 'florida', 1)")  # the caller may


def test_a_query_without_end_is_ended(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_metrics, "MOST_INSTRUCTIONS", 300_000)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    assert execution_accuracy([endless], [RIGHT], database).accuracy == 0.0


def test_what_says_nothing_is_left_out(database: sqlite3.Connection) -> None:
    nothing = "SELECT name FROM city WHERE state = 'utah'"
    result = execution_accuracy([RIGHT, RIGHT, nothing], [RIGHT, "SELECT x FROM y", nothing], database)
    assert (result.accuracy, result.measured, result.left_out) == (1.0, 1, 2)
    assert execution_accuracy([], [], database).accuracy == 0.0
    with pytest.raises(ValueError, match="as many right queries"):
        execution_accuracy([RIGHT], [], database)


def test_variables() -> None:
    template = 'SELECT c FROM t WHERE a = "city_name0" AND b = "city_name01"'
    filled = fill_variables(template, {"city_name0": "rome", "city_name01": "oslo"})
    assert filled == 'SELECT c FROM t WHERE a = "rome" AND b = "oslo"'

"""The batch that is put together while the last one computes."""

from __future__ import annotations

import threading

import pytest

from seq2seq_fast.prefetch import Prefetch


def test_what_was_begun_is_made_in_another_thread() -> None:
    prefetch: Prefetch[int] = Prefetch()
    prefetch.begin("a", threading.get_ident)
    assert prefetch.get("a", lambda: -1) not in (-1, threading.get_ident())
    prefetch.close()


def test_another_key_is_made_anew() -> None:
    prefetch: Prefetch[str] = Prefetch()
    prefetch.begin("a", lambda: "begun")
    assert prefetch.get("b", lambda: "made") == "made"
    assert prefetch.get("a", lambda: "made") == "made"  # dropped with the change of plans
    prefetch.close()


def test_an_error_is_the_caller_s() -> None:
    prefetch: Prefetch[int] = Prefetch()
    prefetch.begin("a", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        prefetch.get("a", lambda: 1)
    prefetch.close()


def test_closed_it_still_serves() -> None:
    prefetch: Prefetch[int] = Prefetch()
    prefetch.begin("a", lambda: 1)
    prefetch.close()
    assert prefetch.get("a", lambda: 2) == 2
    prefetch.begin("b", lambda: 3)
    assert prefetch.get("b", lambda: 4) == 3
    prefetch.close()

"""What counts as the same result: the two sides take their sums in different orders, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_close(name: str, ours: Any, theirs: Any, tolerance: float = 1e-4) -> None:
    """Arrays, tensors or numbers; AssertionError unless max|ours - theirs| <= tolerance * max|theirs|."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, PyTorch {theirs.shape}"
    error = float(np.abs(ours - theirs).max()) / max(float(np.abs(theirs).max()), 1e-30)
    assert error <= tolerance, f"{name}: off by {error:.1e} of the largest element, more than {tolerance:.0e}"

"""Numbers around a limit, so that what is just allowed is tried as often as what is far too much."""

from __future__ import annotations

import random

FACTORS = (0.1, 0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 2.0, 8.0, 30.0)


def around(chance: random.Random, limit: int, *, most: int = 1 << 40) -> int:
    """A number near ``limit``, sometimes far above, never above ``most``, never below 1."""
    return max(1, min(most, int(limit * chance.choice(FACTORS)) + chance.choice((-1, 0, 0, 1))))


def size(chance: random.Random, least: int, most: int) -> int:
    """A number between two others, each order of magnitude as often as any other."""
    return int(least * (most / least) ** chance.random())

"""Packages at random, each made to harm its reader in one way; the same seed gives the same package."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from . import descriptions, metadatas, tars, zips

KINDS: dict[str, Callable[[random.Random, str], tuple[str, bytes]]] = dict(
    [*tars.kinds(), *zips.kinds(), *metadatas.kinds(), *descriptions.kinds()]
)
# So that neighbors are of different kinds, and as many packages as there are kinds are one of each.
ORDER = sorted(KINDS, key=lambda kind: random.Random(kind).random())


@dataclass(frozen=True)
class Bomb:
    """A package, and what is evil about it."""

    seed: int
    kind: str
    project: str
    filename: str
    data: bytes


def make(seed: int, *, prefix: str = "bomb") -> Bomb:
    """The package of a seed; ``prefix`` begins its name."""
    kind = ORDER[seed % len(ORDER)]
    project = f"{prefix}-{seed}"
    filename, data = KINDS[kind](random.Random(seed), project)
    return Bomb(seed, kind, project, filename, data)

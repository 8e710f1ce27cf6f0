"""The places a catalog can be in, for tests that hold for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

PLACES = ("file", "memory", "postgresql")


def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path | str | None:
    """Where a new, empty catalog of that kind is."""
    if kind == "postgresql":
        address: str = request.getfixturevalue("database")
        return address
    return tmp_path / "catalog.sqlite" if kind == "file" else None

"""Every promise we publish names tests that exist, and none is left out."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "reference" / "promises.rst").read_text("utf-8")
PROMISES = re.split(r"^(?=\*\*P\d+\*\* )", PAGE, flags=re.MULTILINE)[1:]


def test_each_of_the_promises_is_there_once() -> None:
    assert re.findall(r"^\*\*(P\d+)\*\* ", PAGE, re.MULTILINE) == [f"P{number}" for number in range(1, 62)]


def test_no_test_has_a_mark_that_its_step_of_ci_leaves_out() -> None:
    """``live`` divides tests/unit and tests/live; pytest's own options would deselect such a test elsewhere."""
    mark = "mark." + "live"
    tests = REPOSITORY / "tests"
    others = [path for path in tests.rglob("*.py") if path.relative_to(tests).parts[0] not in ("unit", "live")]
    assert len(others) > 50
    assert [str(path) for path in others if mark in path.read_text("utf-8")] == []


@functools.cache
def functions_of(file: str) -> list[str]:
    return re.findall(r"^def (\w+)\(", (REPOSITORY / file).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.partition(" ")[0].strip("*"))
def test_the_proof_of_a_promise_exists(promise: str) -> None:
    tests = re.findall(r"``(tests/[\w/]+\.py)::(\w+)``", promise)
    assert tests
    for file, name in tests:
        assert name in functions_of(file), (file, name)

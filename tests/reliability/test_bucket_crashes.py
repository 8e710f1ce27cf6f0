"""Killing a server between any two steps of a change to a bucket leaves the index as it was, or as it was to be.

The bucket is one in a local folder here; ``tests/cluster`` does the same with Ceph's gateway.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.bucket_crash import CHANGES
from tests.reliability.bucket_crashes import die_at_every_step


@pytest.mark.parametrize("change", CHANGES)
def test_a_death_between_two_steps_leaves_at_most_an_orphan(change: str, tmp_path: Path) -> None:
    deaths = die_at_every_step(change, tmp_path, lambda name: f"file://{tmp_path}/{name}")
    assert deaths >= 2

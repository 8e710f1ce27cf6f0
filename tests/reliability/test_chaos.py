"""Whatever happens to the catalog's files, a name that is here is never sent to the fallback (P11, P38, P46).

bin/soak does the same for an hour, one fault after the other on one server and at random.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("looks at /proc", allow_module_level=True)

from bin.soaking.chaos import play_one
from bin.soaking.faults import BY_NAME, FAULTS
from tests.reliability.disks import reason_against

SEED = 14
# What each server does in its own way: files that are mapped, writers that wait, processes that end.
OFTEN = (
    "db deleted",
    "-wal emptied",
    "-shm emptied",
    ".signal emptied",
    "check with another hash",
    "locked",
    "disk full",
)


def survive(name: str, home: Path, *, server: str, workers: int) -> None:
    fault = BY_NAME[name]
    if fault.needs_supervisor and server == "waitress":
        pytest.skip("it is one process; a service manager starts it again")
    if fault.needs_disk and (why := reason_against()):
        pytest.skip(why)
    outcome = play_one(fault, home, server=server, workers=workers, seed=SEED)
    assert outcome.figures["requests"] > 100
    assert outcome.figures["redirects"] == 0, (dict(outcome.figures), outcome.samples)
    assert outcome.broken == [], (dict(outcome.figures), outcome.samples)


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_no_fault_of_the_catalog_sends_a_name_that_is_here_to_the_fallback(name: str, tmp_path: Path) -> None:
    survive(name, tmp_path, server="granian", workers=4)


@pytest.mark.parametrize(("server", "workers"), [("granian", 1), ("waitress", 1), ("gunicorn", 4)])
@pytest.mark.parametrize("name", OFTEN)
def test_nor_does_it_on_any_other_server(name: str, server: str, workers: int, tmp_path: Path) -> None:
    survive(name, tmp_path, server=server, workers=workers)

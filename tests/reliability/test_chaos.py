"""Whatever happens to the catalog's files, a name that is here is never sent to the fallback (P11, P38, P46).

A server that survived a fault continues to the next one, as in bin/soak, which does the same for an hour and at random.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("looks at /proc", allow_module_level=True)

from bin.soaking.chaos import Outcome, Session, scene
from bin.soaking.faults import BY_NAME, FAULTS
from bin.soaking.scenes import Fault
from tests.reliability.disks import reason_against

SEED = 14
# Eight readers ask 400 times in a second, not as often as they can: other tests run at the same time.
PAUSE_SECONDS = 0.02
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


class Servers:
    """The one server that runs now, under load; another one begins where it did not survive, or is of another kind."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._kind: tuple[str, int, bool] | None = None
        self._session: Session | None = None
        self._ending = contextlib.ExitStack()

    def play(self, fault: Fault, *, server: str, workers: int) -> Outcome:
        """Make a fault, take it back, and wait until all is well."""
        kind = (server, workers, fault.needs_disk)
        if self._session is None or kind != self._kind:
            self.close()
            home, chance = self._folders.mktemp("chaos"), random.Random(SEED)
            begun = scene(home, server, workers, disk=fault.needs_disk, chance=chance)
            self._session = Session.begin(self._ending.enter_context(begun), SEED, pause=PAUSE_SECONDS)
            self._ending.enter_context(self._session.load)
            self._kind = kind
        outcome = None
        try:
            outcome = self._session.play(fault)
        finally:
            if outcome is None or outcome.broken:
                self.close()
        return outcome

    def close(self) -> None:
        self._session = None
        self._ending.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory)
    try:
        yield servers
    finally:
        servers.close()


def survive(servers: Servers, name: str, *, server: str, workers: int) -> None:
    fault = BY_NAME[name]
    if fault.needs_supervisor and server == "waitress":
        pytest.skip("it is one process; a service manager starts it again")
    if fault.needs_disk and (why := reason_against()):
        pytest.skip(why)
    outcome = servers.play(fault, server=server, workers=workers)
    assert outcome.figures["requests"] > 100
    assert outcome.figures["redirects"] == 0, (dict(outcome.figures), outcome.samples)
    assert outcome.broken == [], (dict(outcome.figures), outcome.samples)


@pytest.mark.parametrize("name", [fault.name for fault in sorted(FAULTS, key=lambda fault: fault.needs_disk)])
def test_no_fault_of_the_catalog_sends_a_name_that_is_here_to_the_fallback(name: str, servers: Servers) -> None:
    survive(servers, name, server="granian", workers=4)


# One server after the other, so that each begins once.
@pytest.mark.parametrize("name", sorted(OFTEN, key=lambda name: BY_NAME[name].needs_disk))
@pytest.mark.parametrize(("server", "workers"), [("granian", 1), ("waitress", 1), ("gunicorn", 4)])
def test_nor_does_it_on_any_other_server(name: str, server: str, workers: int, servers: Servers) -> None:
    survive(servers, name, server=server, workers=workers)

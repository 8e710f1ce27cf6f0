"""Pages in memory and addresses of files while the time of day moves, also back, and exceptions end."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from pypiserver.distributions.filename import normalize
from pypiserver.errors import Forbidden
from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.service import Proxy

from .indexes import START, Index, World

RAVEN, FILE = normalize("raven"), "raven-1.0-py3-none-any.whl"
DAY = 86_400.0


class Server:
    """A proxy whose time of day is set by hand: it is fresh at any time, because its other clock does not move."""

    def __init__(self, **rules: object) -> None:
        self.now = START
        here = World((Index(projects={"raven": [FILE]}),))
        policy = Policy(PolicySettings(7 * DAY, **rules))  # type: ignore[arg-type]
        self.proxy = Proxy(here.pages(), here.store, rules=policy, now=lambda: self.now)

    def gives_out(self) -> bool:
        """Whether the page and the address give it out, which always say the same; memory is never behind."""
        known = self.proxy.known(RAVEN)
        on_page = bool(self.proxy.project(RAVEN).judged.files)
        assert known is None or bool(known.judged.files) is on_page
        try:
            at_address = bool(self.proxy.find(f"@up/raven/{FILE}"))
        except Forbidden:
            at_address = False
        assert on_page is at_address
        return on_page


def test_a_clock_that_is_set_back_withholds_again_what_is_too_young() -> None:
    server = Server()
    seen = []
    for days in (0, 6.9, 7, 8, 6.9, 0, 7, 400, -10, 7.1):
        server.now = START + days * DAY
        seen.append((days, server.gives_out(), server.gives_out()))
    assert [(page, again) for _, page, again in seen] == [(days >= 7, days >= 7) for days, _, _ in seen]


def test_an_exception_ends_at_the_end_of_its_day(tmp_path: Path) -> None:
    last = datetime.fromtimestamp(START + 2 * DAY, timezone.utc).date()
    (tmp_path / "allow").write_text(f"raven until {last}  # hotfix\n")
    server = Server(allow=tmp_path / "allow")
    midnight = datetime.combine(last, datetime.min.time(), timezone.utc).timestamp() + DAY
    for when, expected in ((START, True), (midnight - 1, True), (midnight, False), (midnight - 1, True)):
        server.now = when
        assert server.gives_out() is expected
    # By then it is old enough.
    server.now = START + 7 * DAY
    assert server.gives_out()


@pytest.mark.parametrize("line", ["raven", "r*n", "raven==1.*", "raven<<2"])
def test_a_denied_release_stays_denied_at_any_time(tmp_path: Path, line: str) -> None:
    (tmp_path / "deny").write_text(f"{line}\n")
    server = Server(deny_projects=tmp_path / "deny")
    for days in (0, 7, 400, -7):
        server.now = START + days * DAY
        assert not server.gives_out()

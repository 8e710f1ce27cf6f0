"""Packages made to cost their reader much take no more than 5 s and 256 MiB at any request (P24, P36).

bin/soak continues with other seeds for an hour. A seed means what the generator makes of it now.
"""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("looks at /proc", allow_module_level=True)

from bin.soaking.bombing import Bombing

# The worst of several hundred, and no kind of archive, metadata or description is left out.
SEEDS = {
    "granian": (247, 389, 374, 369, 313),
    "waitress": (306, 49, 263, 236, 220),
    "gunicorn": (344, 292, 209, 270, 10),
}


@pytest.mark.parametrize("server", SEEDS)
def test_no_bomb_takes_more_than_its_share(server: str) -> None:
    pytest.importorskip("readme_renderer")
    bombing = Bombing(server)
    bombing.run(iter(SEEDS[server]), lambda: False)
    assert bombing.figures["bombs"] == len(SEEDS[server])
    assert bombing.failures == [], bombing.table()

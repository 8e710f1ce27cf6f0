"""Sixteen uploads of one name at the same time."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from pypiserver.errors import Conflict
from pypiserver.factory.application import Application
from tests.unit.faults import Faults
from tests.unit.index import test_publish as unit
from tests.unit.index.test_publish import SDISTS, VARIANTS, add, listed, together

pytestmark = pytest.mark.live
application = unit.application


@pytest.mark.parametrize("no_links", [False, True], ids=["links", "no links"])
@pytest.mark.parametrize(
    ("filename", "variants"),
    [("foo-1.0-py3-none-any.whl", VARIANTS), ("foo-1.0.tar.gz", SDISTS)],
    ids=["wheel", "sdist"],
)
def test_of_sixteen_who_upload_one_name_one_wins(
    application: Application, root: Path, filename: str, variants: list[bytes], no_links: bool
) -> None:
    if no_links:
        application.backend.storage._operations = Faults("link", errno.EPERM).operations
    outcomes = together(
        16, lambda number: add(application.intake, filename, variants[number], signature=b"%d" % number)
    )
    (winner,) = [number for number, outcome in enumerate(outcomes) if outcome == f"{filename} was stored."]
    assert outcomes.count(Conflict) == 15
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {
        filename: variants[winner],
        f"{filename}.asc": b"%d" % winner,
    }
    assert listed(application.repository) == {filename: hashlib.sha256(variants[winner]).hexdigest()}

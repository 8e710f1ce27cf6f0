"""No other index hears of a name that is ours, denied or hidden, whatever address names it (see asked_names)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.asked_names import OURS, PUBLIC, SILENT, Asking, asking

ODD_METHODS = pytest.mark.filterwarnings("ignore:Unknown REQUEST_METHOD")
# Every n-th request is sent here; tests/security sends all of them, several times.
EVERY = 37


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    with asking(tmp_path_factory.mktemp("asked")) as made:
        yield made


@ODD_METHODS
@pytest.mark.parametrize("name", SILENT)
def test_no_other_index_hears_of_a_name(server: Asking, name: str) -> None:
    before = server.count
    server.send(name, every=EVERY, first=SILENT.index(name))
    assert server.count - before > 100
    assert server.heard(name) == []


@ODD_METHODS
def test_a_public_name_is_asked_for(server: Asking) -> None:
    server.send(PUBLIC, every=EVERY)
    assert server.heard(PUBLIC)


def test_the_file_of_a_project_that_is_here_is_not_looked_for_elsewhere(server: Asking) -> None:
    for file in server.up.projects[OURS].files:
        assert server.client.get(file.path).status in (200, 404)
    assert server.heard(OURS) == []

"""Projects and files of other indexes after the rules, from indexes in memory."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest

from pypiserver.backend.cache_store import Key
from pypiserver.distributions.filename import normalize
from pypiserver.errors import Forbidden, NotFound, Unavailable
from pypiserver.proxy.page_memory import FILE_BYTES
from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.service import Proxy
from pypiserver.upstream.values import RemoteFile

from . import indexes
from .indexes import Index, World

RAVEN = normalize("raven")
ONE, TWO = "raven-1.0-py3-none-any.whl", "raven-2.0-py3-none-any.whl"
AT = f"@up/raven/{ONE}"
PYPI = f"ab/cd/{'e' * 60}/{ONE}"


def world(*given: Index, **settings: Any) -> World:
    return World(given or (Index(projects={"raven": [ONE]}),), settings=settings)


def proxy(here: World, **policy: Any) -> Proxy:
    rules = Policy(PolicySettings(**policy), wall=here.clock.now)
    return Proxy(here.pages(), here.store, rules=rules, now=here.clock.now)


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the files of indexes be at this place."""

    def place(path: str) -> None:
        before = indexes.remote
        monkeypatch.setattr(indexes, "remote", lambda *args, **given: before(*args, **{**given, "path": path}))

    return place


def test_a_file_is_found_though_its_page_was_never_asked_for() -> None:
    here = world()
    file, offered = proxy(here).find(AT)
    assert (file.filename, offered.page.project, here.indexes[0].asked) == (ONE, RAVEN, ["raven"])
    # After a restart, or on another replica, from the kept page.
    assert proxy(here).find(AT)[0] == file
    assert here.indexes[0].asked == ["raven"]


def test_a_file_at_the_place_that_it_has_at_pypi_is_found_by_exactly_that(placed: Callable[[str], None]) -> None:
    placed(PYPI)
    here = world()
    found = proxy(here)
    assert found.find(PYPI)[0].filename == ONE
    for other in (PYPI.replace("ab", "ac"), PYPI.upper(), f"/{PYPI}", f"{PYPI}/", AT, ONE, f"x/{ONE}"):
        with pytest.raises(NotFound):
            found.find(other)


@pytest.mark.parametrize(
    "path",
    [
        f"@up/../{ONE}",
        f"@up/raven/../raven/{ONE}",
        f"@/raven/{ONE}",
        f"@up/Raven/{ONE}",
        f"@up/crow/{ONE}",
        "@up/raven/README.txt",
        f"@other/raven/{ONE}",
        "@up/raven/",
        "",
        f"../{PYPI}",
        f"ab/cd/{'e' * 59}/{ONE}",
    ],
)
def test_no_other_path_leads_anywhere(path: str) -> None:
    here = world()
    with pytest.raises(NotFound):
        proxy(here).find(path)


def test_a_name_that_could_be_of_two_projects_is_looked_for_in_both() -> None:
    file = "plot-3d-20240101.tar.gz"
    here = world(Index(projects={"plot-3d": [file]}))
    assert proxy(here).find(f"@up/plot-3d/{file}")[0].project == "plot-3d"


def test_no_index_is_asked_for_a_project_that_is_ours() -> None:
    here = world()
    with pytest.raises(NotFound):
        proxy(here).find(AT, may_ask=lambda project: False)
    assert here.indexes[0].asked == []


def test_a_file_that_is_newer_than_the_page_is_found() -> None:
    here = world()
    found = proxy(here)
    found.project(RAVEN)
    here.indexes[0].projects["raven"].append(TWO)
    here.clock.pass_by(10)
    assert found.find(f"@up/raven/{TWO}")[0].filename == TWO
    # A file that no page has is not asked for again and again.
    for _ in range(5):
        with pytest.raises(NotFound):
            found.find("@up/raven/raven-3.0-py3-none-any.whl")
    assert len(here.indexes[0].asked) <= 3


def test_a_file_is_not_found_only_when_that_is_certain() -> None:
    here = world()
    found = proxy(here)
    found.project(RAVEN)
    here.indexes[0].trouble = "down"
    here.clock.pass_by(10)
    assert found.find(AT)[0].filename == ONE
    with pytest.raises(Unavailable):
        found.find(f"@up/raven/{TWO}")
    with pytest.raises(Unavailable):
        found.find("@up/crow/crow-1.0-py3-none-any.whl")


def test_a_file_that_left_the_page_is_given_while_its_bytes_are_kept() -> None:
    here = world(Index(projects={"raven": [ONE, TWO]}))
    found = proxy(here)
    found.project(RAVEN)
    here.store.files[Key("up", "raven", ONE)] = b"bytes"
    here.indexes[0].projects["raven"] = [TWO]
    here.clock.pass_by(601)
    assert [file.filename for file in found.project(RAVEN).page.files] == [TWO]
    assert found.find(AT)[0].filename == ONE
    assert proxy(here).find(AT)[0].filename == ONE
    # The whole project too.
    del here.indexes[0].projects["raven"]
    here.clock.pass_by(601)
    with pytest.raises(NotFound):
        found.project(RAVEN)
    for each in (found, proxy(here)):
        assert each.find(AT)[0].filename == ONE
        with pytest.raises(NotFound):
            each.find(f"@up/raven/{TWO}")


def test_a_quarantine_stops_files_that_are_kept() -> None:
    here = world()
    found = proxy(here)
    found.find(AT)
    here.store.files[Key("up", "raven", ONE)] = b"bytes"
    here.indexes[0].status = "quarantined"
    here.clock.pass_by(601)
    offered = found.project(RAVEN)
    assert (offered.judged.files, offered.judged.status.status) == ((), "quarantined")
    with pytest.raises(Forbidden) as caught:
        found.find(AT)
    assert caught.value.kind == "quarantined"
    # An index that takes the files of its quarantine down does not set them free.
    here.indexes[0].projects["raven"] = []
    here.clock.pass_by(601)
    with pytest.raises(Forbidden):
        found.find(AT)


def test_what_is_withheld_on_the_page_is_refused_at_the_file() -> None:
    here = world()
    found = proxy(here, min_age=86_400.0)
    assert found.project(RAVEN).judged.files == ()
    with pytest.raises(Forbidden) as caught:
        found.find(AT)
    assert (caught.value.kind, caught.value.filename) == ("min-age", ONE)
    here.clock.pass_by(86_400)
    assert [file.filename for file in found.project(RAVEN).judged.files] == [ONE]
    assert found.find(AT)[0].filename == ONE


def test_no_index_is_asked_for_a_project_that_is_denied(tmp_path: Any) -> None:
    denied = tmp_path / "denied.txt"
    denied.write_text("raven  # malware\n")
    here = world()
    found = proxy(here, deny_projects=denied)
    offered = found.project(RAVEN)
    assert (offered.judged.files, offered.judged.status.status) == ((), "quarantined")
    assert "malware" in offered.judged.status.reason
    with pytest.raises(Forbidden):
        found.find(AT)
    assert here.indexes[0].asked == []


def test_equal_pages_have_equal_marks_and_others_have_others() -> None:
    here = world()
    found = proxy(here)
    first = found.project(RAVEN)
    here.clock.pass_by(601)
    same = found.project(RAVEN)
    assert (first.mark, first.judged) == (same.mark, same.judged)
    here.indexes[0].projects["raven"].append(TWO)
    here.clock.pass_by(601)
    assert found.project(RAVEN).mark != first.mark
    here.indexes[0].status = "archived"
    here.clock.pass_by(601)
    assert len({found.project(RAVEN).mark, first.mark}) == 2


def test_what_is_in_memory_is_known_without_waiting() -> None:
    here = world()
    found = proxy(here)
    assert found.known(RAVEN) is None
    offered = found.project(RAVEN)
    known = found.known(RAVEN)
    assert known is not None
    assert (known.mark, known.forwarded, offered.forwarded) == (offered.mark, "", "miss")
    here.clock.pass_by(601)
    assert found.known(RAVEN) is None


def test_a_file_that_left_the_page_is_withheld_again_when_the_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, start = indexes.remote, indexes.START

    def dated(name: str, *args: Any, **given: Any) -> Any:
        uploaded = start if name == ONE else start - 10 * 86_400
        return made(name, *args, **{**given, "uploaded_ns": int(uploaded * 1e9)})

    monkeypatch.setattr(indexes, "remote", dated)
    here, back = world(Index(projects={"raven": [ONE, TWO]})), [0.0]
    rules = Policy(PolicySettings(min_age=86_400.0), wall=here.clock.now)
    found = Proxy(here.pages(), here.store, rules=rules, now=lambda: here.clock.now() - back[0])
    here.clock.pass_by(86_400)
    found.project(RAVEN)
    here.store.files[Key("up", "raven", ONE)] = b"bytes"
    here.indexes[0].projects["raven"] = [TWO]
    here.clock.pass_by(601)
    assert found.find(AT)[0].filename == ONE
    back[0] = 3600.0
    # What is left on the page is old enough at either time; the file that left it is not.
    assert [file.filename for file in found.project(RAVEN).judged.files] == [TWO]
    assert found.given(AT) is None
    with pytest.raises(Forbidden):
        found.find(AT)


@pytest.mark.parametrize("policy", [{}, {"min_age": 30 * 86_400.0}], ids=["open", "withheld"])
def test_what_strangers_ask_for_is_kept_in_memory_up_to_a_limit(
    policy: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is counted by every memory that keeps it: those that only point to it must let it go."""
    monkeypatch.setattr("pypiserver.proxy.page_memory.PAGES_BYTES", 1 << 20)
    monkeypatch.setattr("pypiserver.proxy.service.OFFER_BYTES", 1 << 20)
    names = [f"raven{number}" for number in range(150)]
    here = world(Index(projects={name: [f"{name}-{n}.0-py3-none-any.whl" for n in range(60)] for name in names}))
    found = proxy(here, **policy)
    before = {id(each) for each in gc.get_objects() if isinstance(each, RemoteFile)}
    for name in names:
        found.project(normalize(name))
        with contextlib.suppress(Forbidden):
            found.find(f"@up/{name}/{name}-1.0-py3-none-any.whl")
    gc.collect()
    kept = sum(isinstance(each, RemoteFile) and id(each) not in before for each in gc.get_objects())
    assert kept <= 2 * (1 << 20) // FILE_BYTES + 2 * len(names)

"""Exceptions that a command adds: whole lines, in one step, with what other programs write."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pypiserver.errors import ConfigError
from pypiserver.proxy.list_edit import add_exception, exception
from tests.raising import raises

DAY = date(2026, 12, 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "allow.txt"
    path.write_text("# ours\nacme-* always # own\n\nurllib3==2.6.1 until 2026-12-01 # CVE\nbroken line\n")
    return path


def test_an_exception_is_added_at_the_end(path: Path) -> None:
    path.chmod(0o640)
    before = path.read_text()
    assert not add_exception(path, exception("Requests >= 2", until=DAY, reason="a fix"))
    assert path.read_text() == f"{before}requests>=2  until 2026-12-10  # a fix\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_exception_for_the_same_is_replaced(path: Path) -> None:
    assert add_exception(path, exception("urllib3==2.6.1", until=None, reason="a # again"))
    assert path.read_text().splitlines()[3] == "urllib3==2.6.1  always  # a # again"
    assert len(path.read_text().splitlines()) == 5


def test_a_missing_list_is_made_for_servers_of_other_users(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    assert not add_exception(path, exception("a", until=DAY, reason="why"))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("a  until 2026-12-10  # why\n", 0o644)


def test_what_another_program_writes_meanwhile_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pypiserver.proxy import list_edit

    replace_file, others = list_edit.replace_file, ["b always # theirs\n"]

    def late(target: Path, *rest: object) -> bool:
        if others:
            with target.open("a") as file:
                file.write(others.pop())
        return replace_file(target, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(list_edit, "replace_file", late)
    add_exception(path, exception("a", until=DAY, reason="why"))
    assert path.read_text().splitlines()[-2:] == ["b always # theirs", "a  until 2026-12-10  # why"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [("", "why"), ("# a", "why"), ("a<<2", "why"), ("a\nb", "why"), ("a", ""), ("a", "x\ny"), ("a always # b", "x")],
)
def test_only_usable_lines_are_written(spec: str, reason: str) -> None:
    with raises(ConfigError, kind="value", setting="allow", value=spec):
        exception(spec, until=DAY, reason=reason)


def test_a_list_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with raises(ConfigError, kind="unwritable", setting="allow"):
        add_exception(tmp_path / "none" / "allow.txt", exception("a", until=DAY, reason="why"))

"""``pypi-server proxy``, as typed into a shell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pypiserver.proxy.list_text import read_list
from tests.fake_upstream import FakeUpstream, upstream
from tests.make_archives import make_wheel

from ...commandline import Outcome, pypi_server

Capture = pytest.CaptureFixture[str]
WHY = ("--reason", "fixes CVE-2026-1234")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "allow.txt"
    path.write_text("# ours\n")
    return path


def allowed(capsys: Capture, *words: object) -> Outcome:
    return pypi_server(capsys, "proxy", "allow", *words)


def test_an_exception_is_written_to_the_list(file: Path, capsys: Capture) -> None:
    earliest = (datetime.now(timezone.utc) + timedelta(days=7)).date()
    outcome = allowed(capsys, file, "Urllib3 == 2.7.0", "--for", "7d", *WHY)
    latest = (datetime.now(timezone.utc) + timedelta(days=7)).date()
    (line,) = read_list(file.read_bytes(), "allow").lines.lines
    assert (str(line), line.reason) == ("urllib3==2.7.0", "fixes CVE-2026-1234")
    assert line.until in (earliest, latest)
    assert (outcome.status, outcome.err) == (0, "")
    assert all(word in outcome.out for word in (str(file), "urllib3==2.7.0", str(line.until), line.reason))
    outcome = allowed(capsys, file, "urllib3==2.7.0", "--for", "always", *WHY, "--json")
    assert json.loads(outcome.out) == {
        "list": str(file),
        "exception": "urllib3==2.7.0",
        "until": "always",
        "reason": "fixes CVE-2026-1234",
        "replaced": True,
        "denied": None,
    }


def test_the_list_is_that_of_the_settings(file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowed(capsys, "a", "--for", "1d", *WHY).status == 2
    denied = file.with_name("deny.txt")
    denied.write_text("b\na<2\na\n")
    for name, value in (("FALLBACK_MODE", "cache"), ("MIN_AGE", "7d"), ("ALLOW", file), ("DENY_PROJECTS", denied)):
        monkeypatch.setenv(f"PYPISERVER_{name}", str(value))
    outcome = allowed(capsys, "a==3", "--for", "1d", *WHY)
    assert (outcome.status, f"line 3 of {denied}" in outcome.out.splitlines()[1]) == (0, True)
    assert "a==3" in file.read_text()


def test_every_exception_is_in_the_audit_log(file: Path, tmp_path: Path, capsys: Capture) -> None:
    log = tmp_path / "audit.log"
    assert allowed(capsys, file, "a==1", "--for", "always", *WHY, "--audit-log", log).status == 0
    line = json.loads(log.read_text())
    assert (line["action"], line["exception"], line["until"], line["list"]) == (
        "proxy allow",
        "a==1",
        "always",
        str(file),
    )
    before = file.read_text()
    outcome = allowed(capsys, file, "b==1", "--for", "always", *WHY, "--audit-log", tmp_path / "none" / "audit.log")
    assert (outcome.status, file.read_text()) == (2, before)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("a",),
        ("a", "--for", "7d"),
        ("a", "--reason", "x"),
        ("a", "--for", "0d", "--reason", "x"),
        ("a", "--for", "7", "--reason", "x"),
        ("a<<2", "--for", "7d", "--reason", "x"),
        ("a", "--for", "7d", "--reason", "x\ny"),
        ("a", "b", "--for", "7d", "--reason", "x"),
    ],
)
def test_what_is_no_exception_changes_nothing(file: Path, capsys: Capture, words: tuple[str, ...]) -> None:
    outcome = allowed(capsys, file, *words)
    assert (outcome.status, outcome.out, file.read_text()) == (2, "", "# ours\n")
    assert len(outcome.err.splitlines()) == 1


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    """An index, and the settings of a server that asks it."""
    now = datetime.now(timezone.utc)
    with upstream() as up:
        for name, days in (("raven", 40), ("osprey", 1), ("condor", 40), ("ours", 1)):
            up.add_wheel(name, "1.0", uploaded=now - timedelta(days=days))
            up.add_sdist(name, "1.0", uploaded=now - timedelta(days=days))
        (tmp_path / "packages").mkdir()
        filename, data = make_wheel("ours", "0.1")
        (tmp_path / "packages" / filename).write_bytes(data)
        (tmp_path / "deny.txt").write_text("condor # malware\n")
        settings = {
            "FALLBACK_MODE": "cache", "FALLBACK_URL": up.url, "CACHE_FOLDER": tmp_path / "cache", "MIN_AGE": "7d",
            "DENY_PROJECTS": tmp_path / "deny.txt", "ROOTS": tmp_path / "packages", "PRIVATE": "secret-*",
        }  # fmt: skip
        for setting, value in settings.items():
            monkeypatch.setenv(f"PYPISERVER_{setting}", str(value))
        yield up


def test_a_lock_is_explained_as_the_server_would_answer(
    asking: FakeUpstream, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text("raven==1.0\nosprey==1.0\ncondor==1.0\nours==1.0\nsecret-x==1.0\nnone==1.0\n")
    outcome = pypi_server(capsys, "proxy", "explain", lock, "--json")
    states = {each["project"]: each["state"] for each in json.loads(outcome.out)["releases"]}
    assert (outcome.status, outcome.err) == (1, "")
    assert states == {
        "raven": "given-out",
        "osprey": "refused",
        "condor": "refused",
        "ours": "own",
        "secret-x": "own",
        "none": "absent",
    }
    # Of a name that is ours no index is asked, nor of a denied one.
    assert [name for name in ("ours", "secret-x", "condor") if asking.count(f"/simple/{name}/")] == []
    # Later the pages are kept.
    monkeypatch.setenv("PYPISERVER_OFFLINE", "1")
    asking.stop()
    assert pypi_server(capsys, "proxy", "explain", "Raven").status == 0
    outcome = pypi_server(capsys, "proxy", "explain", "osprey==1.0")
    assert (outcome.status, "rule min-age" in outcome.out) == (1, True)


def test_explain_needs_a_server_that_asks_others(capsys: Capture, tmp_path: Path) -> None:
    assert pypi_server(capsys, "proxy", "explain", "raven").status == 2
    outcome = pypi_server(capsys, "proxy", "explain", "raven", "too", "--fallback-mode", "cache")
    assert (outcome.status, len(outcome.err.splitlines())) == (2, 1)
    assert pypi_server(capsys, "proxy", "explain", tmp_path / "none.lock", "--fallback-mode", "cache").status == 2


@pytest.mark.parametrize("task", ["explain", "refresh"])
def test_a_private_name_is_asked_of_no_index_without_a_folder_of_packages(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As on the machine of a developer, where the default folder does not exist."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with upstream() as up:
        up.add_wheel("acme-secret", "1.0")
        asks = ("--fallback-mode", "cache", "--fallback-url", up.url, "--cache-folder", tmp_path / "cache")
        pypi_server(capsys, "proxy", task, "acme-secret", *asks, "--private", "acme-*")
        assert up.count() == 0
        pypi_server(capsys, "proxy", task, "acme-secret", *asks)
        assert up.count() == 1

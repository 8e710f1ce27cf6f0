"""Users and passwords, as typed into a shell."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import is_password, set_password, users_in
from pypiserver.cli.commands import passwd

from ...commandline import Outcome, pypi_server

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    set_password(path, "ada", "word")
    path.write_text(path.read_text() + "# a comment\nbob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\neve:{odd}\n")
    return path


def typed(monkeypatch: pytest.MonkeyPatch, capsys: Capture, *words: object, password: str = "word") -> Outcome:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return pypi_server(capsys, "passwd", *words)


def test_users_are_listed_with_the_scheme_of_their_hash(file: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "passwd", file, "--list").out == "ada  (bcrypt)\nbob  (sha1)\n"
    listed = json.loads(pypi_server(capsys, "passwd", file, "--list", "--json").out)
    assert [user["user"] for user in listed["users"]] == ["ada", "bob"]


def test_a_user_is_removed_and_the_rest_stays(file: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "passwd", file, "ada", "--remove") == (0, f"Removed ada from {file}.\n", "")
    assert file.read_text() == "# a comment\nbob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\neve:{odd}\n"
    outcome = pypi_server(capsys, "passwd", file, "bop", "--remove")
    assert outcome.status == 2 and "There is no user 'bop'" in outcome.err and "did you mean 'bob'?" in outcome.err


@pytest.mark.parametrize(("password", "status"), [("word", 0), ("other", 1)])
def test_a_password_is_verified(
    password: str, status: int, file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = typed(monkeypatch, capsys, file, "ada", "--verify", "--json", password=password)
    assert outcome.status == status and json.loads(outcome.out)["verified"] is (status == 0)


def test_a_user_is_added_and_changed(file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(monkeypatch, capsys, file, "joe").out == f"Added the password of joe in {file}.\n"
    assert typed(monkeypatch, capsys, file, "joe", password="new").out.startswith("Changed")
    assert is_password(file, "joe", "new") and set(users_in(file)) == {"ada", "bob", "joe"}


def test_what_cannot_be_done_is_said_before_the_password_is_asked_for(
    file: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwd, "_asked_password", lambda *_, **__: pytest.fail("it was asked for"))
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (("ada", "htpasswd"), "passwd htpasswd ada"),
        (("ada", str(file)), f"passwd {file} ada"),
        (("new", "htpasswd.txt"), "passwd htpasswd.txt new"),
        ((file, "a:b"), "is not a user name"),
        ((tmp_path / "none" / "htpasswd", "ada"), "cannot be changed"),
        ((tmp_path, "ada"), "cannot be changed"),
        ((file, "nobody", "--verify"), "There is no user 'nobody'"),
        ((tmp_path / "none", "ada", "--verify"), "cannot be read"),
    ):
        outcome = pypi_server(capsys, "passwd", *words)
        assert outcome.status == 2 and said in outcome.err, (words, outcome)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["htpasswd"]


def test_two_tasks_at_once_are_refused(file: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "passwd", file, "ada", "--list", "--remove").status == 2

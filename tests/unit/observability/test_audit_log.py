"""The audit log: what was changed, by whom, from where; and that no change escapes it."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pypiserver.__main__ import main
from pypiserver.errors import Unavailable
from pypiserver.observability.audit_log import AuditLog, Change
from tests.make_archives import make_wheel

from ..web.test_routes import basic
from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
OTHER, OTHER_BYTES = make_wheel("foo", "1.0", summary="other bytes")
SHA256 = hashlib.sha256(WHEEL_BYTES).hexdigest()
Serve = Callable[..., Client]
ALICE = {"HTTP_AUTHORIZATION": basic("alice", "pw"), "REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def told(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    for line in lines:
        assert line.pop("time").endswith("Z")
    return lines


def test_every_change_of_a_request_is_told(serve: Serve, log: Path) -> None:
    access = {"auther": lambda user, password: True, "authenticate": "update"}
    client = serve(audit_log=log, trusted_proxy="10.0.0.1", overwrite=True, **access)
    assert client.upload(WHEEL, WHEEL_BYTES, **ALICE).status == 200
    assert client.upload(WHEEL, WHEEL_BYTES, **ALICE).status == 200  # changes nothing
    assert client.upload(WHEEL, OTHER_BYTES, **ALICE).status == 200
    assert client.upload(WHEEL, b"no archive", **ALICE).status == 400
    release = {"name": "foo", "version": "1.0"}
    for action in ("yank", "unyank", "remove_pkg"):
        form = "&".join(f"{key}={value}" for key, value in {":action": action, "reason": "bad", **release}.items())
        kind = "application/x-www-form-urlencoded"
        assert client.post("/", form.encode(), CONTENT_TYPE=kind, **ALICE).status == 200
    who = {"user": "alice", "address": "192.0.2.7"}
    other = hashlib.sha256(OTHER_BYTES).hexdigest()
    assert told(log) == [
        {**who, "action": "upload", "file": WHEEL, "sha256": SHA256},
        {**who, "action": "upload", "file": WHEEL, "sha256": other},
        {**who, "action": "yank", "file": WHEEL, "sha256": other, "reason": "bad"},
        {**who, "action": "unyank", "file": WHEEL, "sha256": other},
        {**who, "action": "delete", "file": WHEEL, "sha256": other},
    ]


def test_a_change_that_cannot_be_recorded_is_not_made(
    serve: Serve, log: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(audit_log=log)
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    log.unlink()
    log.mkdir()
    later, later_bytes = make_wheel("foo", "2.0")
    answers = [client.upload(later, later_bytes)]
    for action in ("yank", "unyank", "remove_pkg"):
        body = f":action={action}&name=foo&version=1.0".encode()
        answers.append(client.post("/", body, CONTENT_TYPE="application/x-www-form-urlencoded"))
    assert [answer.status for answer in answers] == [503] * 4
    assert answers[0].text.startswith("The audit log cannot be written, so nothing was changed")
    assert str(log) not in answers[0].text and str(log) in caplog.text
    assert [path.name for path in root.iterdir() if path.is_file()] == [WHEEL]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is full")
def test_a_line_that_cannot_be_written_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    audit = AuditLog(Path("/dev/full"))
    audit.check()
    audit.write(Change("delete", "a.whl", "00"), user="bob", address="192.0.2.7")
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert '"user": "bob", "address": "192.0.2.7", "action": "delete", "file": "a.whl"' in record.getMessage()


def test_a_log_that_cannot_be_written_is_said_at_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing" / "audit"
    assert main(["-p", "0", "--audit-log", str(missing), str(tmp_path)]) == 2
    assert f"The audit log {missing} cannot be written" in capsys.readouterr().err


def test_commands_are_told_when_asked_to(root: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / WHEEL).write_bytes(WHEEL_BYTES)
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    monkeypatch.setenv("PYPISERVER_AUDIT_LOG", str(log))
    assert main(["yank", str(root), "foo", "1.0", "--reason", "bad"]) == 0
    assert main(["unyank", str(root), "foo", "1.0"]) == 0
    assert main(["delete", str(root), "foo", "1.0"]) == 0  # only says what it would do
    assert main(["delete", str(root), "foo", "1.0", "--yes"]) == 0
    assert main(["restore", str(root), "foo"]) == 0
    monkeypatch.delenv("PYPISERVER_AUDIT_LOG")
    assert main(["delete", str(root), "foo", "1.0", "--yes", "--purge", "--audit-log", str(log)]) == 0
    assert [line["action"] for line in told(log)] == ["yank", "unyank", "delete", "restore", "delete"]
    assert {(line["user"], line["address"], line["file"], line["sha256"]) for line in told(log)} == {
        ("carol", None, WHEEL, SHA256)
    }


def test_a_command_that_cannot_be_recorded_changes_nothing(root: Path, tmp_path: Path) -> None:
    (root / WHEEL).write_bytes(WHEEL_BYTES)
    assert main(["yank", str(root), "foo", "1.0", "--audit-log", str(tmp_path)]) == 2
    assert main(["delete", str(root), "foo", "1.0", "--yes", "--audit-log", str(tmp_path)]) == 2
    assert [path.name for path in root.iterdir()] == [WHEEL]


def _write_many(path: Path, name: str) -> None:
    for number in range(200):
        AuditLog(path).write(Change("upload", f"{name}-{number}", "0" * 64), user=name * 100, address="192.0.2.7")


def test_lines_of_several_processes_never_mix(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    writers = [context.Process(target=_write_many, args=(log, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert len(told(log)) == 400


def test_a_file_that_was_moved_is_made_again_for_no_one_else(log: Path) -> None:
    audit = AuditLog(log, clock=lambda: 1_600_000_000.0)
    audit.write(Change("upload", "a\nb\x1b.whl", "00"), user=None, address="")
    assert log.read_text() == (
        '{"time": "2020-09-13T12:26:40.000Z", "user": null, "address": "", "action": "upload", '
        '"file": "a\\nb\\u001b.whl", "sha256": "00"}\n'
    )
    assert sys.platform == "win32" or log.stat().st_mode & 0o007 == 0
    log.rename(log.with_suffix(".1"))
    audit.write(Change("delete", "a.whl", "00"), user=None, address="")
    assert len(told(log)) == 1


def test_check_names_no_path_to_clients(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"The audit log .* cannot be written") as caught:
        AuditLog(tmp_path).check()
    assert str(tmp_path) in str(caught.value) and str(tmp_path) not in caught.value.public

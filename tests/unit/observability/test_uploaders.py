"""Who uploaded a file, from the audit log: read on from where it was left, and never trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.observability import uploaders
from pypiserver.observability.audit_log import AuditLog, Change
from pypiserver.observability.uploaders import Uploaders


def upload(path: Path, sha256: str, user: str | None, action: str = "upload") -> None:
    AuditLog(path).write(Change(action, "foo.zip", sha256), user=user, address=None)


def test_the_last_who_uploaded_it_is_told(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    told = Uploaders(log)
    assert told.of("aa") == ""
    upload(log, "aa", "ines")
    upload(log, "bb", None)
    upload(log, "aa", "otto", "delete")
    assert (told.of("aa"), told.of("bb")) == ("ines", "")
    upload(log, "aa", "mara")
    assert told.of("aa") == "mara"


def test_a_log_that_was_moved_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    told = Uploaders(log)
    upload(log, "aa", "ines")
    assert told.of("aa") == "ines"
    log.rename(tmp_path / "audit.1")
    upload(log, "bb", "otto")
    assert (told.of("aa"), told.of("bb")) == ("ines", "otto")


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"action": "upload", "user": 1, "sha256": []}']
)
def test_a_line_that_is_no_record_means_nothing(tmp_path: Path, line: bytes) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_bytes(line + b"\n")
    upload(log, "aa", "ines")
    assert Uploaders(log).of("aa") == "ines"


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    upload(log, "aa", "ines")
    whole = log.read_bytes()
    log.write_bytes(whole + whole.replace(b"aa", b"bb")[:-20])
    told = Uploaders(log)
    assert (told.of("aa"), told.of("bb")) == ("ines", "")
    with log.open("ab") as stream:
        stream.write(whole.replace(b"aa", b"bb")[-20:])
    assert told.of("bb") == "ines"


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "audit.jsonl"
    for number in range(20):
        upload(log, f"{number:02}", "ines")
    monkeypatch.setattr(uploaders, "MAX_READ", 500)
    told = Uploaders(log)
    assert (told.of("00"), told.of("19")) == ("", "ines")

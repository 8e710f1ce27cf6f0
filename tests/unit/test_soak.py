"""The soak's packages are what they say, and its figures count what is wrong."""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("the soak looks at /proc", allow_module_level=True)

from bin.soaking import bombs, tars, zips
from bin.soaking.bombing import NO_ANSWER, Bombing, Measured
from bin.soaking.chaos import Outcome, Row, table
from bin.soaking.faults import BY_NAME
from bin.soaking.readers import Question
from bin.soaking.scenes import Scene
from tests.hostile import sha256
from tests.make_archives import make_wheel

BOMB = bombs.Bomb(7, "tar: sparse", "bomb-7", "bomb-7-1.0.tar.gz", b"1234")


def test_a_record_of_a_pax_header_begins_with_its_length() -> None:
    for length in (1, 84, 85, 86, 87, 983, 984, 985, 10_000):
        record = tars.record(b"comment", b"c" * length)
        assert int(record.split(b" ")[0]) == len(record)


def test_a_tar_of_long_names_and_pax_keys_is_one_that_tarfile_reads() -> None:
    data = tars.entry("pax", tars.record(b"comment", b"x"), b"x") + tars.header("a") + tars.entry("b", b"12")
    with tarfile.open(fileobj=io.BytesIO(data + bytes(1024))) as archive:
        assert [(member.name, member.size) for member in archive] == [("a", 0), ("b", 2)]


@pytest.mark.parametrize("zip64", [False, True])
def test_a_zip_with_something_around_it_is_one_that_zipfile_reads(zip64: bool) -> None:
    members = zips.members_of(make_wheel("a", "1.0")[1])
    data = zips.Archive(members, before=b"#!", comment=b"end", zip64=zip64).to_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert (archive.comment, len(archive.namelist())) == (b"end", len(members))


@pytest.mark.parametrize(
    ("status", "seconds", "mebibytes", "broken"),  # all of the time on the CPU
    [
        (200, 4.9, 255.0, ""),
        (400, 0.1, 1.0, ""),
        (503, 0.1, 1.0, ""),
        (507, 0.1, 1.0, ""),
        (500, 0.1, 1.0, "status 500"),
        (502, 0.1, 1.0, "status 502"),
        (NO_ANSWER, 0.1, 1.0, "no answer"),
        (200, 5.1, 257.0, "5.1 s, CPU 5.1 s, 257 MiB"),
    ],
)
def test_a_bomb_breaks_limits_of_status_time_and_memory(
    status: int, seconds: float, mebibytes: float, broken: str
) -> None:
    measured = Measured(BOMB, "upload", status, seconds, mebibytes, mebibytes, cpu=seconds)
    assert measured.broken == broken
    bombing = Bombing()
    assert bombing.add(measured) == (not broken)
    assert len(bombing.failures) == bool(broken)
    assert f"{status}:1" in bombing.table()


def test_a_machine_that_is_busy_with_something_else_breaks_no_limit() -> None:
    assert Measured(BOMB, "upload", 200, 9.0, 1.0, 1.0, cpu=1.0).broken == ""
    assert Measured(BOMB, "upload", 200, 15.5, 1.0, 1.0, cpu=1.0).broken == "15.5 s, CPU 1.0 s"


def _page(*names: str) -> bytes:
    return json.dumps({"files": [{"filename": name} for name in names]}).encode()


def _legacy(*names: str) -> bytes:
    return json.dumps({"releases": {"1.0": [{"filename": name} for name in names]}}).encode()


@pytest.mark.parametrize(
    ("way", "status", "body", "outcome"),
    [
        ("json", 200, _page("a.whl", "b.whl"), ""),
        ("json", 200, _page("b.whl"), "not listed"),
        ("json", 200, b"<html>", "other bytes"),
        ("json", 302, b"", "redirects"),
        ("json", 307, b"", "redirects"),
        ("html", 200, b'<a href="x">a.whl</a>', ""),
        ("html", 200, b'<a href="x">xa.whl</a>', "not listed"),
        ("html", 404, b"", "not found"),
        ("html", 503, b"", "unavailable"),
        ("html", 500, b"", "wrong status"),
        ("legacy", 200, _legacy("a.whl"), ""),
        ("legacy", 200, _legacy(), "not listed"),
        ("file", 200, b"bytes", ""),
        ("file", 200, b"byte", "other bytes"),
    ],
)
def test_an_answer_about_a_file_that_is_here_counts(way: str, status: int, body: bytes, outcome: str) -> None:
    assert Question("a", "a.whl", sha256(b"bytes"), way).outcome(status, body) == outcome


def test_a_fault_is_survived_when_nothing_is_wrong_and_the_log_tells_of_it() -> None:
    fault = BY_NAME["all deleted"]
    assert Outcome(fault, Counter(requests=9, unavailable=3), healed=29.0, shown=14.0, logged=1).broken == []
    assert Outcome(fault, Counter(requests=9)).broken == ["not a line in the log"]
    wrong = Outcome(fault, Counter(redirects=1, died=2), healed=float("inf"), shown=float("inf"), logged=1)
    assert len(wrong.broken) == 4
    assert Outcome(BY_NAME["worker killed"], Counter(died=1), logged=1).broken == []
    row = Row()
    row.add(wrong)
    assert (row.times, row.broken, row.figures["redirects"]) == (1, 1, 1)
    assert "all deleted" in table({"all deleted": row})


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    for name in ("c.sqlite", "c.sqlite-wal", "c.sqlite-shm", "c.sqlite.signal", "c.sqlite.lock"):
        (tmp_path / name).write_bytes(b"0123456789")
    return Scene(SimpleNamespace(), tmp_path, tmp_path, random.Random(3))  # type: ignore[arg-type]


def test_faults_of_files_concern_the_files_of_their_kind(scene: Scene) -> None:
    def sizes() -> list[int]:
        return [path.stat().st_size for path in scene.all()]

    assert [path.name for path in scene.databases()] == ["c.sqlite"]
    BY_NAME["-wal emptied"].make(scene)
    BY_NAME[".lock cut"].make(scene)
    assert sorted(path.name for path in scene.all() if path.stat().st_size < 10) == ["c.sqlite-wal", "c.sqlite.lock"]
    before = sizes()
    BY_NAME["-shm overwritten"].make(scene)
    assert (sizes(), scene.of("-shm")[0].read_bytes() == b"0123456789") == (before, False)
    undo = BY_NAME["db moved and back"].make(scene)
    assert undo is not None and not (scene.state / "c.sqlite").exists()
    undo()
    assert (scene.state / "c.sqlite").read_bytes() == b"0123456789"
    BY_NAME["all deleted"].make(scene)
    assert scene.all() == []

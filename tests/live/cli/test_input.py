"""Passwords from standard input and from a terminal, and closed streams: commands as processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live_server import REPOSITORY

pytestmark = pytest.mark.live
PASSWORDS = {
    "nothing": (b"", "must not be empty"),
    "an empty line": (b"\n", "must not be empty"),
    "a NUL": (b"x\0y\n", "must not be empty or contain a NUL"),
    "no UTF-8": (b"\xff\xfe\n", "UTF-8"),
    "only a part of a line": (b"sesame", ""),
}


@pytest.mark.parametrize(("given", "sentence"), PASSWORDS.values(), ids=PASSWORDS)
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_password_from_standard_input(given: bytes, sentence: str, locale: str, tmp_path: Path) -> None:
    environ = {**os.environ, "LC_ALL": locale, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "pypiserver", "passwd", str(tmp_path / "f"), "me"]
    done = subprocess.run(command, input=given, capture_output=True, env=environ, check=False)
    assert done.returncode == (2 if sentence else 0)
    assert sentence.encode() in done.stderr and b"Traceback" not in done.stderr
    assert (tmp_path / "f").exists() is not bool(sentence)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["passwd f me", "--version", "check packages", "--bogus"])
def test_closed_streams_are_no_reason_for_a_traceback(closed: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    line = f"{sys.executable} -m pypiserver {command} {closed}"
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(["sh", "-c", line], input=b"x\n", capture_output=True, env=environ, cwd=tmp_path, check=False)
    assert b"Traceback" not in done.stdout + done.stderr
    assert done.returncode == (2 if command == "--bogus" or (command[:6] == "passwd" and "<" in closed) else 0)


@pytest.mark.parametrize(("key", "status"), [(b"\x04", 2), (b"\x03", 130)], ids=["Ctrl-D", "Ctrl-C"])
@pytest.mark.parametrize("typed", [b"", b"sesame\n"], ids=["at once", "at the second question"])
def test_an_end_at_the_question_for_a_password(key: bytes, status: int, typed: bytes, tmp_path: Path) -> None:
    """At a real terminal."""
    import pty

    process, terminal = pty.fork()
    if not process:
        # As a shell starts it, however these tests were started.
        for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)
        os.environ["PYTHONPATH"] = str(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-m", "pypiserver", "passwd", str(tmp_path / "f"), "me"])
    said = b""
    for question, answer in ((b"Password for me: ", typed), *([(b"The same again: ", b"")] if typed else [])):
        while question not in said:
            assert select.select([terminal], [], [], 60)[0], said
            said += os.read(terminal, 1000)
        # getpass empties what was typed before its question.
        time.sleep(0.05)
        os.write(terminal, answer or key)
    while True:
        assert select.select([terminal], [], [], 60)[0], said
        try:
            block = os.read(terminal, 1000)
        except OSError:
            break
        said += block
        if not block:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == status
    assert b"pypi-server: No password was given; nothing was changed." in said and b"Traceback" not in said
    assert not (tmp_path / "f").exists()

"""``--pid-file``: it names the server while that runs, and never a stranger."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pypiserver.errors import ConfigError
from pypiserver.server.pid_file import pid_file
from tests.raising import raises

from ..commandline import pypi_server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.pid"


@pytest.fixture
def another() -> int:
    """The number of a process that is none of ours, and runs as long as the tests do."""
    return os.getppid()


def test_it_is_there_while_the_server_runs(path: Path) -> None:
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing else is left in the folder"
    assert not path.exists()


def test_that_of_a_server_that_runs_is_refused_and_stays(path: Path, another: int) -> None:
    path.write_text(f"{another}\n")
    with raises(ConfigError, kind="running", setting="pid_file", value=path), pid_file(path):
        pass
    assert path.read_text() == f"{another}\n"


def test_that_of_a_dead_server_is_replaced(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    path.write_text(str(dead.pid))
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing tells when a process began")
def test_a_stranger_that_has_its_number_now_is_no_server(path: Path, another: int) -> None:
    path.write_text(f"{another}\n")
    before_it_began = time.time() - 400 * 86_400
    os.utime(path, (before_it_began, before_it_began))
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_its_own_number_from_before_a_restart_is_no_other_server(path: Path) -> None:
    path.write_text(str(os.getpid()))
    with pid_file(path):
        assert path.exists()


def test_one_that_another_process_wrote_meanwhile_is_left_to_it(path: Path) -> None:
    with pid_file(path):
        path.write_text("1\n")
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("text", ["", "no number", "-5", "9" * 30, "12 34"])
def test_what_is_no_pid_file_is_never_overwritten(text: str, path: Path) -> None:
    path.write_text(text)
    with raises(ConfigError, kind="unusable", setting="pid_file", value=path), pid_file(path):
        pass
    assert path.read_text() == text


def test_a_folder_in_its_place_or_none_above_it_is_a_sentence(tmp_path: Path) -> None:
    with raises(ConfigError, kind="unusable", setting="pid_file", value=tmp_path), pid_file(tmp_path):
        pass
    with raises(ConfigError, kind="unwritable", setting="pid_file"), pid_file(tmp_path / "none" / "pid"):
        pass


def test_the_command_refuses_before_it_reads_a_folder(
    path: Path, tmp_path: Path, another: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(str(another))
    done = pypi_server(capsys, "--pid-file", path, "-p", 0, tmp_path)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"pypi-server: A server with the PID file {path} runs already")

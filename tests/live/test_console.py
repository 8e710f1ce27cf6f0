"""A start that is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live
SCRIPT = ("-c", "import sys; from pypiserver.console import main; sys.exit(main())")


@pytest.mark.parametrize("start", [SCRIPT, ("-m", "pypiserver")], ids=["script", "module"])
@pytest.mark.parametrize("imported", ["pypiserver.errors", "pypiserver.settings.setting", "pypiserver.cli.help"])
def test_an_interrupted_start_is_130_without_a_traceback(start: tuple[str, ...], imported: str, tmp_path: Path) -> None:
    # It says what it has imported; then it would wait for a password.
    command = [sys.executable, "-X", "importtime", *start, "passwd", str(tmp_path / "users"), "ada"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.split()[-1] == imported)
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
    assert (process.returncode, "Traceback" in said) == (130, False)

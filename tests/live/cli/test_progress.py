"""Progress in a real terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli import test_progress as unit

pytestmark = pytest.mark.live
packages = unit.packages
AT_ONCE = """
import sys
from pypiserver.cli import progress
progress.DELAY_SECONDS, progress.PAUSE_SECONDS = 0.0, 0.0
from pypiserver.folder import scanner
scanner.SAY_EACH = 1
from pypiserver.__main__ import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
def test_the_first_scan_of_a_server_is_seen_on_a_terminal(packages: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", AT_ONCE, "-i", "127.0.0.1", "-p", "0", "--log-stream", "none", str(packages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environ, cwd=tmp_path) as process:
        assert process.stdout is not None
        try:
            banner = process.stdout.readline()
        finally:
            process.terminate()
            process.wait(20)
        os.set_blocking(ours, False)
        seen = os.read(ours, 65_536).decode()
    os.close(ours)
    os.close(theirs)
    assert banner.strip() != b""
    assert re.search(r"\rreading the packages:? 3\b", seen), seen
